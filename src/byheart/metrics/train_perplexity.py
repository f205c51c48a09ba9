"""Training perplexity: measures the fit to the training texts; compared with the validation perplexity it shows overfitting.

    PPL = exp(- sum over texts and tokens of ln p / number of tokens)

p is the probability of a token after the preceding tokens. Every token of every text has equal weight. The interval is that of
`perplexity`: of a ratio of two sums, corrected for skewness (Peter Hall, Journal of the Royal Statistical Society B 54 (1992)
221-228), with texts of a group together.
"""

from __future__ import annotations

import math

from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import perplexity_with_interval

RANGE = (1.0, math.inf)
REVISION = 1  # the interval is corrected for skewness and treats groups as units


def train_perplexity(train: LogProbs, member_groups: tuple[str, ...]) -> Estimate:
    """Perplexity per token on the audited members, which were trained on; lower means more memorized, 1 is certainty.

    No interval for a single group. Raises `CellError` if the value is not finite.
    """
    return Estimate(*perplexity_with_interval(train, member_groups), members=len(train), nonmembers=None)
