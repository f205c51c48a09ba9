"""Simultaneous inference for many AUCs: intervals that hold together, p-values, and differences on the same texts.

- Simultaneous intervals: O. Dunn, Journal of the American Statistical Association 56 (1961) 52-64. Each of K intervals has
  an error of 0.05 / K, so all hold with 95 % confidence, including any one that is selected afterwards.
- Interval and p-values of an AUC are those of `roc_auc.auc_interval`: DeLong's variance clustered by group, Student's t on
  the logit scale, and Hoeffding's bound if that variance is zero. Each of K simultaneous intervals is intersected with
  Hoeffding's bound: near an AUC of 1 a few discordant texts carry the variance, and Student's t with one or two degrees of
  freedom is then too wide at such small errors. The bound gets a tenth of the error, t nine tenths.
- Seeds share their texts. A difference is claimed only if every seed shows it: the largest p-value and the outermost ends
  over seeds (the intersection-union test of R. Berger, Technometrics 24 (1982) 295-300).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from byheart.core.types import ScoreSet
from byheart.stats.intervals import TAIL, hoeffding, t_critical_value
from byheart.stats.leakage_tests import RecordLabels, p_value_auc_above
from byheart.stats.roc_auc import AucDifference, auc_difference, auc_interval, independent_pairs

ALPHA = 0.05
HOEFFDING_ERROR_SHARE = 0.1
"""Share of the error that Hoeffding's bound gets in simultaneous intervals."""


class AucInterval(NamedTuple):
    """An AUC with its interval."""

    value: float
    low: float
    high: float


def reversed_interval(auc: AucInterval) -> AucInterval:
    """Return the interval of the AUC of the negated scores, one minus the AUC."""
    return AucInterval(1 - auc.value, 1 - auc.high, 1 - auc.low)


def groups_or_ids(score_set: ScoreSet) -> tuple[str, ...]:
    """Group of each text; its id if the score set has no groups."""
    return score_set.groups or score_set.ids


def simultaneous_auc_interval(score_set: ScoreSet, *, tests: int = 1) -> AucInterval:
    """AUC with an interval that holds simultaneously with `tests` - 1 others: each has an error of 0.05 / tests."""
    groups, tail = groups_or_ids(score_set), TAIL / tests
    if tests == 1:
        value, ends = auc_interval(score_set.scores, score_set.members, groups)
        return AucInterval(value, *ends)
    value, (low, high) = auc_interval(
        score_set.scores, score_set.members, groups, tail=(1 - HOEFFDING_ERROR_SHARE) * tail
    )
    pairs = independent_pairs(score_set.members, groups)
    hoeffding_low, hoeffding_high = hoeffding(value, pairs, tail=HOEFFDING_ERROR_SHARE * tail)
    return AucInterval(value, max(low, hoeffding_low), min(high, hoeffding_high))


def labels_of(score_set: ScoreSet) -> RecordLabels:
    """Membership and groups of a score set."""
    return RecordLabels(score_set.members, groups_or_ids(score_set))


def p_value_auc_differs(score_set: ScoreSet, null_auc: float = 0.5) -> float:
    """Two-sided p-value of the null hypothesis that the AUC is `null_auc`; lower means different."""
    labels = labels_of(score_set)
    return min(
        1.0,
        2
        * min(
            p_value_auc_above(score_set.scores, labels, null_auc),
            p_value_auc_above(-score_set.scores, labels, 1 - null_auc),
        ),
    )


def simultaneous_detectable_auc(score_set: ScoreSet, tests: int) -> float:
    """Smallest AUC that is detected with 80 % power: its interval, one of `tests` simultaneous ones, lies above 0.5.

    Assumes the worst case, that texts of a group carry the same information, so the true power is at least this.
    """
    from byheart.stats.power import detectable_auc, effective_text_count

    groups_by_class = [
        [g for g, m in zip(groups_or_ids(score_set), score_set.members, strict=True) if m == is_member]
        for is_member in (True, False)
    ]
    return detectable_auc(*map(effective_text_count, groups_by_class), tests=tests)


def has_same_texts(first: ScoreSet, second: ScoreSet) -> bool:
    """Whether both have the same texts in the same order, with the same members."""
    return first.ids == second.ids and bool(np.array_equal(first.members, second.members))


def auc_difference_over_seeds(pairs: Sequence[tuple[ScoreSet, ScoreSet]]) -> AucDifference:
    """AUC of the first minus AUC of the second on the same texts, averaged over seeds; one pair of score sets per seed.

    The p-value is the largest and the ends are the outermost over seeds; if the seeds differ in sign, the p-value is 1.
    """
    differences = [auc_difference(a.scores, b.scores, a.members, groups_or_ids(a)) for a, b in pairs]
    has_one_sign = len({math.copysign(1, d.value) for d in differences}) == 1
    return AucDifference(
        float(np.mean([d.value for d in differences])),
        min(d.low for d in differences),
        max(d.high for d in differences),
        max(d.p_value for d in differences) if has_one_sign else 1.0,
    )


def widen_interval(value: float, low: float, high: float, tests: int) -> tuple[float, float]:
    """95 % interval of a share, widened like a normal interval to hold simultaneously with `tests` - 1 others."""
    from scipy.special import ndtri

    ratio = float(ndtri(1 - TAIL / tests)) / t_critical_value(math.inf)
    return max(0.0, value - ratio * (value - low)), min(1.0, value + ratio * (high - value))
