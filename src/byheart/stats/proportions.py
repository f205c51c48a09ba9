"""Proportions of texts: mid-P intervals, paired differences, and the effective number of texts in groups.

- H. Lancaster, Significance Tests in Discrete Distributions, Journal of the American Statistical Association 56 (1961)
  223-234: the mid-P value counts half the probability of the observed value. Clopper and Pearson's interval counts all of
  it: never too narrow, and far too wide for few events (G. Berry, P. Armitage, Mid-P Confidence Intervals: A Brief Review,
  The Statistician 44 (1995) 417-423). Compared with 12 other intervals in R. Newcombe, Statistics in Medicine 17 (1998)
  857-872.
- Effective numbers: L. Kish, Survey Sampling (1965).

Counts may be fractional, as effective sizes are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.errors import DataError
from byheart.stats.intervals import TAIL, group_indices


def mid_p_cdf(
    successes: Float[np.ndarray, " *shape"] | float, trials: float, share: float
) -> Float[np.ndarray, " *shape"]:
    """Probability of fewer successes plus half the probability of exactly this many (mid-P distribution function)."""
    from scipy.special import betainc

    counts = np.asarray(successes, dtype=np.float64)
    through = np.where(counts >= trials, 1.0, betainc(trials - counts, counts + 1, 1 - share))
    before = np.where(counts <= 0, 0.0, betainc(trials - counts + 1, counts, 1 - share))
    return np.asarray((through + before) / 2)


def mid_p(successes: float, trials: float, *, tail: float = TAIL) -> tuple[float, float]:
    """Lower and upper end of a proportion's mid-P interval, each with an error of about `tail`."""
    from scipy.optimize import brentq

    value = successes / trials
    low, high = 0.0, 1.0
    if successes > 0:
        low = cast("float", brentq(lambda p: 1 - float(mid_p_cdf(successes, trials, p)) - tail, 0.0, value))
    if successes < trials:
        high = cast("float", brentq(lambda p: float(mid_p_cdf(successes, trials, p)) - tail, value, 1.0))
    return low, high


def effective_size(values: Float[np.ndarray, " texts"], group: Int[np.ndarray, " texts"]) -> float:
    """Effective number of independent texts: their mean has the same variance as the mean of these grouped texts.

    At most the number of texts. If all values are equal or all texts are one group, the variance cannot be estimated; Kish's
    worst case applies: a group counts as one text.
    """
    texts, sizes = len(values), np.bincount(group)
    sizes = sizes[sizes > 0]
    deviations = values - values.mean()
    spread = float(deviations @ deviations)
    if spread == 0 or len(sizes) == 1:
        return texts**2 / float(sizes @ sizes)
    group_sums = np.bincount(group, deviations)
    clustered, independent = float(group_sums @ group_sums) / (1 - 1 / len(sizes)), spread / (1 - 1 / texts)
    return texts / max(1.0, clustered / independent)


class Share(NamedTuple):
    """A proportion, or a difference of proportions, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


TextOutcomes = Bool[np.ndarray, " texts"] | Float[np.ndarray, " texts"]
"""Outcome of each text: a boolean, or a number from 0 to 1, whose variance is at most that of a boolean."""


def share_with_interval(outcomes: TextOutcomes, groups: tuple[str, ...]) -> Share:
    """Clustered proportion (0 to 1) with its 95 % interval. Raises `DataError` for no texts."""
    if not len(outcomes):
        raise DataError("proportion: no texts. Audit at least one member and one non-member.")
    value = float(outcomes.mean())
    size = effective_size(outcomes.astype(np.float64), group_indices(groups))
    return Share(value, *mid_p(value * size, size))


def share_difference(first: Share, second: Share, correlation: float = 0.0) -> Share:
    """First proportion minus second, with its 95 % interval; independent by default, else with this correlation."""
    value = first.value - second.value
    below = _difference_margin(first.value - first.low, second.high - second.value, correlation)
    above = _difference_margin(first.high - first.value, second.value - second.low, correlation)
    return Share(value, value - below, value + above)


def paired_share_difference(first: TextOutcomes, second: TextOutcomes, groups: tuple[str, ...]) -> Share:
    """First proportion minus second on the same texts in the same order, with its 95 % interval."""
    return share_difference(
        share_with_interval(first, groups),
        share_with_interval(second, groups),
        _share_correlation(first, second, groups),
    )


def member_and_nonmember_shares(
    outcomes: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> tuple[Share, Share]:
    """Proportion among the members, and proportion among the non-members."""
    member_groups, nonmember_groups = (
        tuple(g for g, is_member in zip(groups, membership, strict=True) if is_member == side) for side in (True, False)
    )
    return (
        share_with_interval(outcomes[membership], member_groups),
        share_with_interval(outcomes[~membership], nonmember_groups),
    )


def pooled_share(seed_shares: Sequence[Share]) -> Share:
    """Mean proportion over seeds, with the outermost ends, because seeds share their texts."""
    return Share(
        float(np.mean([f.value for f in seed_shares])),
        min(f.low for f in seed_shares),
        max(f.high for f in seed_shares),
    )


def _difference_margin(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(0.0, first**2 + second**2 - 2 * correlation * first * second))


def _share_correlation(first: TextOutcomes, second: TextOutcomes, groups: tuple[str, ...]) -> float:
    """Return the correlation of two proportions over the groups of their texts."""
    group = group_indices(groups)
    sums, other_sums = (np.bincount(group, outcomes - outcomes.mean()) for outcomes in (first, second))
    norm = math.sqrt(float(sums @ sums) * float(other_sums @ other_sums))
    return min(float(sums @ other_sums) / norm, 1 - 1 / (int(group.max()) + 1)) if norm > 0 else 0.0
