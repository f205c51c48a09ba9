"""Mean negative log-likelihood per token, and its interval, which speaks of which texts were drawn.

A ratio of two sums over texts: William Cochran, Sampling Techniques, 3rd edition, 1977, chapter 6, texts that share a
group being drawn together. Few hard or long texts carry most of its variance, which leans the estimate to one side:

- Peter Hall, On the Removal of Skewness by Transformation, Journal of the Royal Statistical Society B 54 (1992)
  221-228: the studentised estimate is bent by its own skewness, and the interval is the bent one's, bent back. Ours adds
  what a ratio's denominator does to its variance (`lean`).
- Reach: Student's t with F. Satterthwaite's degrees of freedom (Biometrics Bulletin 2 (1946) 110-114), from the fourth
  moment, at most one fewer than there are groups.

Where ln NLL and ln length of 100 texts are normal with a spread of 0.75, plain Student's intervals hold in 92 % of
simulated studies and miss above ten times as often as below, these in 94 %.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from byheart.core import ragged
from byheart.core.errors import CellError
from byheart.core.types import LogProbs
from byheart.stats.intervals import group_indices, t_critical_value

LARGEST_EXPONENT = 700.0  # exp of 709.8 is the largest float


class MeanNll(NamedTuple):
    """Nats per token over all tokens of all texts, or a difference of two, and what its interval is made of.

    `freedom` is the variance's degrees of freedom (0: one group, unknown), `third` the estimate's third central moment,
    `lean` its covariance with the number of tokens, over that number, times its standard error squared.
    """

    value: float
    variance: float
    degrees_of_freedom: float
    third_moment: float
    length_covariance: float

    def minus(self, other: MeanNll) -> MeanNll:
        """Give the difference of two that were measured on independent texts, with Welch's degrees of freedom."""
        variance = self.variance + other.variance
        parts = [(n.variance**2, n.degrees_of_freedom) for n in (self, other) if n.variance > 0]
        freedom = min(self.degrees_of_freedom, other.degrees_of_freedom)
        if freedom and parts:
            freedom = variance**2 / sum(square / own for square, own in parts)
        third, lean = self.third_moment - other.third_moment, self.length_covariance - other.length_covariance
        return MeanNll(self.value - other.value, variance, freedom, third, lean)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The two ends, around the value; None where there is one group."""
        if not self.degrees_of_freedom:
            return None
        if not self.variance:
            return self.value, self.value
        error, reach = math.sqrt(self.variance), t_critical_value(self.degrees_of_freedom)
        skew = self.third_moment / error**3
        bend = skew / 3 - self.length_covariance / error**3

        def unbent(bent: float) -> float:
            straight = bent - skew / 6
            return straight if abs(bend) < 1e-9 else (math.cbrt(1 + 3 * bend * straight) - 1) / bend  # noqa: PLR2004

        return self.value - error * unbent(reach), self.value - error * unbent(-reach)


def mean_nll(logprobs: LogProbs, groups: tuple[str, ...]) -> MeanNll:
    """Sum of the tokens' NLL over their number, texts of a group being drawn together.

    Raises `CellError` where there are no texts, or their sums overflow.
    """
    sums, lengths = -ragged.sums(logprobs.logp, logprobs.starts), ragged.lengths(logprobs.starts).astype(np.float64)
    if not len(lengths) or not np.isfinite(sums).all():
        raise CellError(
            f"mean NLL of {len(lengths)} texts is not a finite number; lower the learning rate or read the losses"
        )
    group = group_indices(groups)
    total, tokens = int(group.max()) + 1, float(lengths.sum())
    value = float(sums.sum()) / tokens
    residuals, sizes = np.bincount(group, sums - value * lengths) / tokens, np.bincount(group, lengths) / tokens
    square, fourth = float(residuals @ residuals), float((residuals**4).sum())
    excess = fourth - square**2 / total
    freedom = total - 1.0 if excess <= 0 else min(total - 1.0, 2 * square**2 / excess)
    third, lean = float((residuals**3).sum()), square * float(residuals @ sizes)
    return MeanNll(value, total / max(total - 1, 1) * square, freedom, third, lean)


def perplexity_with_interval(logprobs: LogProbs, groups: tuple[str, ...]) -> tuple[float, float | None, float | None]:
    """exp(mean NLL) and the ends of its interval; no ends where there is one group.

    Raises `CellError` where the perplexity is too large for a number.
    """
    nll = mean_nll(logprobs, groups)
    if nll.value > LARGEST_EXPONENT:
        raise CellError(f"mean NLL is {nll.value:.0f} nats per token: the model has diverged; lower the learning rate")
    if nll.interval is None:
        return math.exp(nll.value), None, None
    low, high = nll.interval
    low, high = max(0.0, low), min(high, LARGEST_EXPONENT)  # no probability is above 1
    return math.exp(nll.value), math.exp(low), math.exp(high)
