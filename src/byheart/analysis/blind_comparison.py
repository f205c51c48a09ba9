"""Compare a study's attack with the blind classifiers of the split check: texts alone may separate members as well."""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import row_values
from byheart.core.split_check import BLIND_PREFIX, Gate
from byheart.core.types import ScoreSet
from byheart.stats.intervals import TAIL
from byheart.stats.leakage_tests import compare_with_blind
from byheart.stats.simultaneous import labels_of


def matched_by(score_sets: Sequence[ScoreSet], gate: Gate | None, tests: int) -> str:
    """Name the blind classifier that the attack does not exceed for every seed, with its AUC; "" if it exceeds all.

    `score_sets` are the attack's, one per seed; `tests` simultaneous tests share the error.
    """
    if gate is None:
        return ""
    comparisons = [compare_with_blind(s.scores, labels_of(s), gate.compared_classifiers) for s in score_sets]
    classifier, p_value = max(comparisons, key=lambda c: c.p_value)
    if classifier is None or p_value * tests <= TAIL:
        return ""
    numbers = (n for n in (classifier.value, classifier.low, classifier.high) if n is not None)
    value, low, high = map(row_values.format_number, numbers)
    return f"the blind classifier {classifier.name.removeprefix(BLIND_PREFIX)} (AUC {value} [{low}, {high}])"
