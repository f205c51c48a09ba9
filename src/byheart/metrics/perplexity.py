"""Validation perplexity: measures the utility of the fine-tuned model; leakage matters little for a model without utility.

    PPL = exp(- sum over texts and tokens of ln p / number of tokens)

p is the probability of a token after the preceding tokens. Every token of every text has equal weight, as in arXiv 2507.00258 (Hou,
Wu, Luo, Zeng, 2025) and most reports; the mean of the texts' own perplexities is a different number. The interval is for the
sampling of texts, with texts of a group together. It is that of a ratio of two sums, corrected for skewness (Peter Hall, Journal of
the Royal Statistical Society B 54 (1992) 221-228), in ln PPL.
"""

from __future__ import annotations

import math

from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import perplexity_with_interval

RANGE = (1.0, math.inf)
REVISION = 1  # the interval is corrected for skewness and treats groups as units


def perplexity(validation: LogProbs, validation_groups: tuple[str, ...]) -> Estimate:
    """Perplexity per token on the validation texts, which were not trained on; lower is better, 1 is certainty.

    Counts the validation texts as non-members. No interval for a single group. Raises `CellError` if the value is not finite.
    """
    return Estimate(*perplexity_with_interval(validation, validation_groups), members=None, nonmembers=len(validation))
