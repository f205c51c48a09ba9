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


CHANCE_AUC = 0.5


MIN_GROUPS_PER_CLASS = 20
"""Groups a side below which no verdict is given: 20 and 20 texts tell an AUC of 0.76 from chance, at a single look."""


class RecordLabels(NamedTuple):
    """Who among the audited texts is a member, and which texts belong together."""

    membership: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...]

    @property
    def has_enough_groups(self) -> bool:
        """Whether there are enough independent texts a side for a verdict."""
        sides = (self.membership, ~self.membership)
        return (
            min(len({g for g, on in zip(self.groups, side, strict=True) if on}) for side in sides)
            >= MIN_GROUPS_PER_CLASS
        )


def p_value_auc_above(scores: Scores, labels: RecordLabels, bound: float) -> float:
    """One-sided p-value of the AUC being at most `bound` (above 0, below 1)."""
    return auc_p_value(scores, *labels, bound)


def p_value_auc_gain(now: Scores, before: Scores, labels: RecordLabels) -> float:
    """One-sided p-value of the AUC not having risen since, on the same texts (DeLong's paired test)."""
    difference = auc_difference(now, before, *labels)
    return difference.p_value / 2 if difference.value > 0 else 1 - difference.p_value / 2


def significant_attacks(p_values: Mapping[str, float], evaluation_count: int) -> tuple[str, ...]:
    """Return the attacks whose p-value holds over all attacks of a look and all looks of a run."""
    adjusted = holm(np.array(list(p_values.values()))) * evaluation_count
    return tuple(name for name, p in zip(p_values, adjusted, strict=True) if p <= ALPHA)
