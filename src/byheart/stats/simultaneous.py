"""What may be said of many AUCs at once: intervals that hold together, p-values, and differences on the same texts.

- Together: O. Dunn, Journal of the American Statistical Association 56 (1961) 52-64. Of K intervals each misses with
  chance 0.05 / K, so that all hold with 95 %: whichever is picked afterwards, by whatever rule, holds too.
- An AUC's interval and p-values are those of `inference.auc_interval`: DeLong's variance clustered by group, Student's t
  on the logit scale, and Hoeffding's bound where that variance is zero. Of K intervals at once each leaves out what
  Hoeffding's bound leaves out too: near an AUC of 1 a few discordant texts carry the variance, and Student's t with one or
  two degrees of freedom reaches almost everywhere so far out. The bound has a tenth of the chance to miss, t nine tenths.
- Several seeds share their texts. A difference is then claimed only where every seed shows it: the largest p-value, and
  the outermost ends (R. Berger, Technometrics 24 (1982) 295-300, whose test of a union this is).
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
"""Share of the chance to miss that Hoeffding's bound has where several intervals hold at once."""


class AucInterval(NamedTuple):
    """An AUC with its interval."""

    value: float
    low: float
    high: float


def groups_or_ids(score_set: ScoreSet) -> tuple[str, ...]:
    """Group of each text; its id where none were kept."""
    return score_set.groups or score_set.ids


def simultaneous_auc_interval(score_set: ScoreSet, *, tests: int = 1) -> AucInterval:
    """AUC with the interval that holds together with `tests` - 1 others: each misses with chance 0.05 / tests."""
    groups, tail = groups_or_ids(score_set), TAIL / tests
    if tests == 1:
        value, ends = auc_interval(score_set.scores, score_set.members, groups)
        return AucInterval(value, *ends)
    value, (low, high) = auc_interval(
        score_set.scores, score_set.members, groups, tail=(1 - HOEFFDING_ERROR_SHARE) * tail
    )
    least, most = hoeffding(value, independent_pairs(score_set.members, groups), tail=HOEFFDING_ERROR_SHARE * tail)
    return AucInterval(value, max(low, least), min(high, most))


def sides_of(held: ScoreSet) -> RecordLabels:
    """Membership and groups of a score set."""
    return RecordLabels(held.members, groups_or_ids(held))


def p_value_auc_differs(score_set: ScoreSet, null_auc: float = 0.5) -> float:
    """Two-sided p-value of an AUC of `truth`."""
    sides = sides_of(score_set)
    return min(
        1.0,
        2
        * min(
            p_value_auc_above(score_set.scores, sides, null_auc),
            p_value_auc_above(-score_set.scores, sides, 1 - null_auc),
        ),
    )


def simultaneous_detectable_auc(score_set: ScoreSet, tests: int) -> float:
    """Smallest AUC whose interval, one of so many at once, lies above one half four times in five.

    Texts that share a group are taken to say the same, which is the worst case: no power is promised that is not there.
    """
    from byheart.stats.power import detectable_auc, effective_text_count

    sides = [
        [g for g, m in zip(groups_or_ids(score_set), score_set.members, strict=True) if m == side]
        for side in (True, False)
    ]
    return detectable_auc(*map(effective_text_count, sides), tests=tests)


def has_same_texts(first: ScoreSet, second: ScoreSet) -> bool:
    """Whether both are of the same texts, in the same order, with the same members."""
    return first.ids == second.ids and bool(np.array_equal(first.members, second.members))


def auc_difference_over_seeds(pairs: Sequence[tuple[ScoreSet, ScoreSet]]) -> AucDifference:
    """AUC of the first minus AUC of the second on the same texts, a pair for each seed; p-value and ends as said above.

    Of several seeds the value is the mean; where they do not agree on the sign, the p-value is 1.
    """
    found = [auc_difference(a.scores, b.scores, a.members, groups_or_ids(a)) for a, b in pairs]
    agree = len({math.copysign(1, f.value) for f in found}) == 1
    return AucDifference(
        float(np.mean([f.value for f in found])),
        min(f.low for f in found),
        max(f.high for f in found),
        max(f.p_value for f in found) if agree else 1.0,
    )


def widen_interval(value: float, low: float, high: float, tests: int) -> tuple[float, float]:
    """The 95 % interval of a share, widened to hold together with `tests` - 1 others, as a normal's would be."""
    from scipy.special import ndtri

    ratio = float(ndtri(1 - TAIL / tests)) / t_critical_value(math.inf)
    return max(0.0, value - ratio * (value - low)), min(1.0, value + ratio * (high - value))
