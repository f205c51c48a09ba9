"""One-sided tests of leakage: an AUC above a bound, an AUC that rose, and their correction over attacks and evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Scores
from byheart.stats.intervals import holm
from byheart.stats.roc_auc import auc_difference, auc_p_value

ALPHA = 0.05
"""Chance of any false alarm in a whole run."""


CHANCE = 0.5


FEWEST = 20
"""Groups a side below which no verdict is given: 20 and 20 texts tell an AUC of 0.76 from chance, at a single look."""


class Sides(NamedTuple):
    """Who among the audited texts is a member, and which texts belong together."""

    membership: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether there are enough independent texts a side for a verdict."""
        sides = (self.membership, ~self.membership)
        return min(len({g for g, on in zip(self.groups, side, strict=True) if on}) for side in sides) >= FEWEST


def p_above(scores: Scores, sides: Sides, bound: float) -> float:
    """One-sided p-value of the AUC being at most `bound` (above 0, below 1)."""
    return auc_p_value(scores, *sides, bound)


def p_gain(now: Scores, before: Scores, sides: Sides) -> float:
    """One-sided p-value of the AUC not having risen since, on the same texts (DeLong's paired test)."""
    difference = auc_difference(now, before, *sides)
    return difference.p_value / 2 if difference.value > 0 else 1 - difference.p_value / 2


def beyond_chance(p_values: Mapping[str, float], looks: int) -> tuple[str, ...]:
    """Return the attacks whose p-value holds over all attacks of a look and all looks of a run."""
    adjusted = holm(np.array(list(p_values.values()))) * looks
    return tuple(name for name, p in zip(p_values, adjusted, strict=True) if p <= ALPHA)
