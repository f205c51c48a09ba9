"""Shares of texts that something holds of, and differences of such shares, with intervals that know of groups.

- A share: the mid-P interval of `proportions` at the effective number of texts, so that none and all have an interval too.
- A difference of independent shares: R. Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10: the square-and-add
  of the shares' own ends. So are differences of such differences (G. Zou, A. Donner, Statistics in Medicine 27 (2008)
  1693-1702), since nothing but ends is asked of either.
- Of shares of the same texts: R. Newcombe, Statistics in Medicine 17 (1998) 2635-2650: the ends are added with the
  correlation of the two, here that of groups, and 0 where one of them does not vary. It is held at 1 - 1 / groups: where
  the two never differ, their difference is not known to be exactly 0.

At 32 texts and shares of .95 and .05, plain Student intervals of the differences in pairs hold in 87 % of 1,500 simulated
studies, these in 97 %; at 20 to 200 texts, one to five trials each, in 93 % or more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.errors import DataError
from byheart.stats.proportions import effective_size, mid_p
from byheart.stats.roc_auc import codes


class Share(NamedTuple):
    """A share, or a difference of shares, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


Held = Bool[np.ndarray, " texts"] | Float[np.ndarray, " texts"]
"""Whether something holds of each text, or how far it does, between 0 and 1, which spreads no wider."""


def share(held: Held, groups: tuple[str, ...]) -> Share:
    """Share of the texts that something holds of. Raises `DataError` where there are none."""
    if not len(held):
        raise DataError("a share of no texts has no value; audit members and non-members")
    value = float(held.mean())
    size = effective_size(held.astype(np.float64), codes(groups))
    return Share(value, *mid_p(value * size, size))


def apart(first: Share, second: Share, correlation: float = 0.0) -> Share:
    """First minus second, of texts that have nothing to do with one another unless their correlation is told."""
    value = first.value - second.value
    below = _together(first.value - first.low, second.high - second.value, correlation)
    above = _together(first.high - first.value, second.value - second.low, correlation)
    return Share(value, value - below, value + above)


def paired(first: Held, second: Held, groups: tuple[str, ...]) -> Share:
    """Share of the first minus share of the second, of the same texts in the same order."""
    return apart(share(first, groups), share(second, groups), _correlation(first, second, groups))


def sides(
    held: Bool[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> tuple[Share, Share]:
    """Share among the members, and share among the non-members."""
    members, others = (tuple(g for g, m in zip(groups, membership, strict=True) if m == side) for side in (True, False))
    return share(held[membership], members), share(held[~membership], others)


def pooled(found: Sequence[Share]) -> Share:
    """One share of several seeds: the mean, and the outermost ends, since they share their texts."""
    return Share(float(np.mean([f.value for f in found])), min(f.low for f in found), max(f.high for f in found))


def _together(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(0.0, first**2 + second**2 - 2 * correlation * first * second))


def _correlation(first: Held, second: Held, groups: tuple[str, ...]) -> float:
    """Return the correlation of two shares over their texts' groups."""
    group = codes(groups)
    one, other = (np.bincount(group, held - held.mean()) for held in (first, second))
    size = math.sqrt(float(one @ one) * float(other @ other))
    return min(float(one @ other) / size, 1 - 1 / (int(group.max()) + 1)) if size > 0 else 0.0
