"""Shares of texts: binomial tails and intervals by the mid-P rule, and how many texts a group is worth.

- H. Lancaster, Significance Tests in Discrete Distributions, Journal of the American Statistical Association 56 (1961)
  223-234: what was seen counts half as "as extreme or more". Clopper and Pearson's interval counts it whole: never too
  narrow, and with few events far too wide (G. Berry, P. Armitage, Mid-P Confidence Intervals: A Brief Review,
  The Statistician 44 (1995) 417-423). Compared with 12 others in R. Newcombe, Statistics in Medicine 17 (1998) 857-872.
- Effective numbers: L. Kish, Survey Sampling (1965).

Counts may be fractions, as effective sizes are.
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
    """Chance of fewer successes, plus half that of as many; one minus it is the chance of more, plus that half."""
    from scipy.special import betainc

    counts = np.asarray(successes, dtype=np.float64)
    through = np.where(counts >= trials, 1.0, betainc(trials - counts, counts + 1, 1 - share))
    before = np.where(counts <= 0, 0.0, betainc(trials - counts + 1, counts, 1 - share))
    return np.asarray((through + before) / 2)


def mid_p(successes: float, trials: float, *, tail: float = TAIL) -> tuple[float, float]:
    """Two ends of a proportion's interval, each missed in about the share `tail` of all studies."""
    from scipy.optimize import brentq

    value = successes / trials
    low, high = 0.0, 1.0
    if successes > 0:
        low = cast("float", brentq(lambda p: 1 - float(mid_p_cdf(successes, trials, p)) - tail, 0.0, value))
    if successes < trials:
        high = cast("float", brentq(lambda p: float(mid_p_cdf(successes, trials, p)) - tail, value, 1.0))
    return low, high


def effective_size(values: Float[np.ndarray, " texts"], group: Int[np.ndarray, " texts"]) -> float:
    """Number of independent texts whose mean is as sure as that of these, some of which share a group: at most the texts.

    Where all values are equal or all texts are one group, and so nothing can be seen, Kish's worst case: a group counts
    as one text.
    """
    texts, sizes = len(values), np.bincount(group)
    sizes = sizes[sizes > 0]
    deviations = values - values.mean()
    spread = float(deviations @ deviations)
    if spread == 0 or len(sizes) == 1:
        return texts**2 / float(sizes @ sizes)
    together = np.bincount(group, deviations)
    between, apart = float(together @ together) / (1 - 1 / len(sizes)), spread / (1 - 1 / texts)
    return texts / max(1.0, between / apart)


class Share(NamedTuple):
    """A share, or a difference of shares, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


TextOutcomes = Bool[np.ndarray, " texts"] | Float[np.ndarray, " texts"]
"""Whether something holds of each text, or how far it does, between 0 and 1, which spreads no wider."""


def share_with_interval(outcomes: TextOutcomes, groups: tuple[str, ...]) -> Share:
    """Share of the texts that something holds of. Raises `DataError` where there are none."""
    if not len(outcomes):
        raise DataError("a share of no texts has no value; audit members and non-members")
    value = float(outcomes.mean())
    size = effective_size(outcomes.astype(np.float64), group_indices(groups))
    return Share(value, *mid_p(value * size, size))


def share_difference(first: Share, second: Share, correlation: float = 0.0) -> Share:
    """First minus second, of texts that have nothing to do with one another unless their correlation is told."""
    value = first.value - second.value
    below = _difference_margin(first.value - first.low, second.high - second.value, correlation)
    above = _difference_margin(first.high - first.value, second.value - second.low, correlation)
    return Share(value, value - below, value + above)


def paired_share_difference(first: TextOutcomes, second: TextOutcomes, groups: tuple[str, ...]) -> Share:
    """Share of the first minus share of the second, of the same texts in the same order."""
    return share_difference(
        share_with_interval(first, groups),
        share_with_interval(second, groups),
        _share_correlation(first, second, groups),
    )


def member_and_nonmember_shares(
    outcomes: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> tuple[Share, Share]:
    """Share among the members, and share among the non-members."""
    members, others = (tuple(g for g, m in zip(groups, membership, strict=True) if m == side) for side in (True, False))
    return share_with_interval(outcomes[membership], members), share_with_interval(outcomes[~membership], others)


def pooled_share(seed_shares: Sequence[Share]) -> Share:
    """One share of several seeds: the mean, and the outermost ends, since they share their texts."""
    return Share(
        float(np.mean([f.value for f in seed_shares])),
        min(f.low for f in seed_shares),
        max(f.high for f in seed_shares),
    )


def _difference_margin(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(0.0, first**2 + second**2 - 2 * correlation * first * second))


def _share_correlation(first: TextOutcomes, second: TextOutcomes, groups: tuple[str, ...]) -> float:
    """Return the correlation of two shares over their texts' groups."""
    group = group_indices(groups)
    one, other = (np.bincount(group, held - held.mean()) for held in (first, second))
    size = math.sqrt(float(one @ one) * float(other @ other))
    return min(float(one @ other) / size, 1 - 1 / (int(group.max()) + 1)) if size > 0 else 0.0
