"""What one attack shows about one method: the rules of docs/verdicts.md, for AUCs above and below 0.5.

The simultaneous intervals have two sides, so a false claim in either direction has a probability of at most 5 % in a study.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import row_values
from byheart.analysis.blind_comparison import matched_by
from byheart.core.split_check import Gate
from byheart.core.types import Row, ScoreSet
from byheart.core.verdict import VerdictWord
from byheart.stats.roc_auc import AucDifference
from byheart.stats.simultaneous import ALPHA, AucInterval


def verdict_word(
    auc: AucInterval,
    score_sets: Sequence[ScoreSet],
    *,
    base_rows: Sequence[Row],
    gain: AucDifference | None,
    gate: Gate | None,
    tests: int,
) -> tuple[VerdictWord, str]:
    """Return the word, and the blind classifier that separates the classes as well ("" if the attack exceeds all).

    `auc` is the attack's simultaneous interval, `score_sets` its scores by seed, `base_rows` its AUCs on the base model, `gain`
    its gain over them. An AUC below 0.5 must be below the base model's, and the blind classifiers must not separate the classes
    as well as the attack with its score reversed does.
    """
    is_upward = auc.value > row_values.CHANCE_AUC
    directed = score_sets if is_upward else [s._replace(scores=-s.scores) for s in score_sets]
    blind_match = matched_by(directed, gate, tests)
    if gate is not None and gate.verdict == "broken":
        return "broken", blind_match
    if auc.low <= row_values.CHANCE_AUC <= auc.high:
        return "nothing", blind_match
    has_changed = gain is None or ((gain.value > 0) == is_upward and gain.p_value * tests <= ALPHA)
    if blind_match or not has_changed or not _is_beyond_base(auc, base_rows):
        return "differs", blind_match
    return "leaks" if is_upward else "reversed", blind_match


def _is_beyond_base(auc: AucInterval, base_rows: Sequence[Row]) -> bool:
    """Whether an interval above (below) 0.5 is also above (below) the base model's, if the base model's excludes 0.5."""
    if not is_base_off_chance(base_rows):
        return True
    if auc.value > row_values.CHANCE_AUC:
        return auc.low > max(r.high or 0 for r in base_rows)
    return auc.high < min(r.low or 0 for r in base_rows)


def is_base_off_chance(rows: Sequence[Row]) -> bool:
    """Whether the base model's interval excludes 0.5, for every seed that has an interval."""
    with_interval = [r for r in rows if r.low is not None and r.high is not None]
    return bool(with_interval) and all(
        (r.low or 0) > row_values.CHANCE_AUC or (r.high or 0) < row_values.CHANCE_AUC for r in with_interval
    )
