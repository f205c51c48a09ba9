"""One-sided tests of leakage: AUC above a bound, AUC gain, and the correction over attacks and evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Scores
from byheart.stats.intervals import holm_by_name
from byheart.stats.roc_auc import auc_difference, auc_p_value

ALPHA = 0.05
"""Probability of any false alarm in one run."""


CHANCE_AUC = 0.5


MIN_GROUPS_FOR_VERDICT = 20
"""Minimum number of groups per class for a verdict: 20 and 20 texts can detect an AUC of 0.76 in a single evaluation."""


class RecordLabels(NamedTuple):
    """Membership and group of each audited text."""

    membership: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...]

    @property
    def has_enough_groups(self) -> bool:
        """Whether each class has enough groups for a verdict."""
        classes = (self.membership, ~self.membership)
        return (
            min(
                len({g for g, is_in_class in zip(self.groups, in_class, strict=True) if is_in_class})
                for in_class in classes
            )
            >= MIN_GROUPS_FOR_VERDICT
        )


def p_value_auc_above(scores: Scores, labels: RecordLabels, bound: float) -> float:
    """One-sided p-value of the null hypothesis that the AUC is at most `bound` (above 0, below 1); lower means leakage."""
    return auc_p_value(scores, *labels, bound)


def p_value_auc_gain(now: Scores, before: Scores, labels: RecordLabels) -> float:
    """One-sided p-value of the null hypothesis that the AUC has not risen on the same texts (DeLong's paired test)."""
    difference = auc_difference(now, before, *labels)
    return difference.p_value / 2 if difference.value > 0 else 1 - difference.p_value / 2


def significant_attacks(p_values: Mapping[str, float], evaluation_count: int) -> tuple[str, ...]:
    """Return the significant attacks, corrected over the attacks of an evaluation (Holm) and the run's evaluations."""
    return tuple(name for name, p in holm_by_name(p_values).items() if p * evaluation_count <= ALPHA)
