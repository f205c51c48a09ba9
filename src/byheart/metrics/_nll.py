"""Mean negative log-likelihood (NLL) per token, with an interval for the sampling of texts.

The estimate is a ratio of two sums over texts: William Cochran, Sampling Techniques, 3rd edition, 1977, chapter 6. Texts that
share a group are sampled together. A few difficult or long texts cause most of the variance, which skews the estimate:

- Peter Hall, On the Removal of Skewness by Transformation, Journal of the Royal Statistical Society B 54 (1992)
  221-228: the studentized estimate is transformed to remove its skewness, and the interval is transformed back. Ours also
  accounts for the effect of the ratio's denominator on its variance (`length_covariance`).
- Critical value: Student's t with F. Satterthwaite's degrees of freedom (Biometrics Bulletin 2 (1946) 110-114), from the fourth
  moment, at most the number of groups minus one.

If ln NLL and ln length of 100 texts are normal with a standard deviation of 0.75, Student's intervals cover the true value in
92 % of simulated studies and miss above ten times as often as below; these intervals cover it in 94 %.
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
    """Mean NLL (nats per token) over all tokens of all texts, or a difference of two, with the moments for its interval.

    `variance` is the squared standard error, `degrees_of_freedom` those of the variance (0: one group, unknown). `third_moment` is the
    estimate's third central moment. `length_covariance` is its covariance with the number of tokens, divided by that number, times
    the squared standard error.
    """

    value: float
    variance: float
    degrees_of_freedom: float
    third_moment: float
    length_covariance: float

    def minus(self, other: MeanNll) -> MeanNll:
        """Return the difference of two means from independent texts, with Welch's degrees of freedom."""
        variance = self.variance + other.variance
        terms = [(mean.variance**2, mean.degrees_of_freedom) for mean in (self, other) if mean.variance > 0]
        freedom = min(self.degrees_of_freedom, other.degrees_of_freedom)
        if freedom and terms:
            freedom = variance**2 / sum(square / term_freedom for square, term_freedom in terms)
        third_moment, covariance = (
            self.third_moment - other.third_moment,
            self.length_covariance - other.length_covariance,
        )
        return MeanNll(self.value - other.value, variance, freedom, third_moment, covariance)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the two ends around the value; None for one group."""
        if not self.degrees_of_freedom:
            return None
        if not self.variance:
            return self.value, self.value
        error, critical_value = math.sqrt(self.variance), t_critical_value(self.degrees_of_freedom)
        skew = self.third_moment / error**3
        curvature = skew / 3 - self.length_covariance / error**3

        def back_transformed(bound: float) -> float:
            shifted = bound - skew / 6
            return shifted if abs(curvature) < 1e-9 else (math.cbrt(1 + 3 * curvature * shifted) - 1) / curvature  # noqa: PLR2004

        return self.value - error * back_transformed(critical_value), self.value - error * back_transformed(
            -critical_value
        )


def mean_nll(logprobs: LogProbs, groups: tuple[str, ...]) -> MeanNll:
    """Return the sum of the tokens' NLL divided by their number (nats per token); texts of a group are sampled together.

    Raises `CellError` if there are no texts, or a sum is not finite.
    """
    sums, lengths = -ragged.sums(logprobs.logp, logprobs.starts), ragged.lengths(logprobs.starts).astype(np.float64)
    if not len(lengths) or not np.isfinite(sums).all():
        raise CellError(
            f"mean NLL of {len(lengths)} texts: not a finite number. Lower the learning rate or check the losses."
        )
    group = group_indices(groups)
    group_count, token_count = int(group.max()) + 1, float(lengths.sum())
    value = float(sums.sum()) / token_count
    residuals, group_lengths = (
        np.bincount(group, sums - value * lengths) / token_count,
        np.bincount(group, lengths) / token_count,
    )
    second_moment, fourth_moment = float(residuals @ residuals), float((residuals**4).sum())
    excess = fourth_moment - second_moment**2 / group_count
    freedom = group_count - 1.0 if excess <= 0 else min(group_count - 1.0, 2 * second_moment**2 / excess)
    third_moment, length_covariance = float((residuals**3).sum()), second_moment * float(residuals @ group_lengths)
    return MeanNll(
        value, group_count / max(group_count - 1, 1) * second_moment, freedom, third_moment, length_covariance
    )


def perplexity_with_interval(logprobs: LogProbs, groups: tuple[str, ...]) -> tuple[float, float | None, float | None]:
    """Return exp(mean NLL) and the ends of its interval; no ends for one group.

    Raises `CellError` if the perplexity is too large for a float.
    """
    nll = mean_nll(logprobs, groups)
    if nll.value > LARGEST_EXPONENT:
        raise CellError(
            f"mean NLL: {nll.value:.0f} nats per token, so the model has diverged. Lower the learning rate."
        )
    if nll.interval is None:
        return math.exp(nll.value), None, None
    low, high = nll.interval
    low, high = max(0.0, low), min(high, LARGEST_EXPONENT)  # no probability is above 1
    return math.exp(nll.value), math.exp(low), math.exp(high)
