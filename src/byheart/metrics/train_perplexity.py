"""Perplexity on what was trained on; beside the validation perplexity it shows over-fitting.

    PPL = exp(- sum over texts and tokens of ln p / number of tokens)

Every token of every text has equal weight, and the interval is that of `perplexity`: of a ratio of two sums, corrected
for skewness (Peter Hall, Journal of the Royal Statistical Society B 54 (1992) 221-228), texts of a group together.
"""

from __future__ import annotations

from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import perplexity_with_interval

REVISION = 1  # the interval is corrected for skewness and keeps groups together


def train_perplexity(train: LogProbs, member_groups: tuple[str, ...]) -> Estimate:
    """Perplexity per token on the audited members, which were trained on; lower is nearer to known by heart.

    No interval for a single group. Raises `CellError` where it has no value.
    """
    return Estimate(*perplexity_with_interval(train, member_groups), members=len(train), nonmembers=None)
