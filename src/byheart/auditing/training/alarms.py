"""Alarms during training, corrected for repeated evaluations.

Every evaluation attacks the same texts, so a plain 95 % interval would exclude chance sooner or later, even for a model
that leaks nothing. An alarm and a stop therefore require a p-value that is corrected over the whole run: Holm's procedure
for the attacks of one evaluation (Scandinavian Journal of Statistics 6 (1979) 65-70), and Bonferroni for the evaluations,
whose number is known in advance and whose dependence is arbitrary. The probability of any false alarm in the run is then
at most `ALPHA`: nine tenths for AUCs above chance and one tenth for AUCs below chance, because a model that leaks in reverse,
as after unlearning, is far below chance. The logged intervals are plain 95 % intervals.

The p-value of an AUC is one-sided and from the test behind its interval: DeLong's variance by group on the logit scale
with Student's t, or Hoeffding's bound if the variance is zero (see `byheart.stats.leakage_tests`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from byheart.analysis import row_values
from byheart.analysis.labels import attack_label
from byheart.core.errors import SettingError
from byheart.core.setting_values import shown_setting
from byheart.core.split_check import Gate
from byheart.core.types import Row, Scores
from byheart.stats.leakage_tests import (
    ALPHA,
    CHANCE_AUC,
    RecordLabels,
    compare_with_blind,
    negated,
    p_value_auc_above,
    p_value_auc_gain,
    significant_attacks,
)

LEAK_ERROR = 0.9 * ALPHA
"""Probability of a false alarm about an AUC above chance in one run."""


REVERSED_ERROR = 0.1 * ALPHA
"""Probability of a false alarm about an AUC below chance in one run."""


PREFIX = "eval_memorization/"
"""Prefix of logged names; loggers group names that begin with eval_ into a section."""


class Evaluation(NamedTuple):
    """One evaluation: optimizer steps and epochs so far, each attack's scores, and all numbers as rows."""

    step: int
    epoch: float
    scores: Mapping[str, Scores]
    rows: tuple[Row, ...]

    def value(self, metric: str, attack: str = "") -> float | None:
        """Return a metric's value; None if it was not measured."""
        return next((r.value for r in self.rows if r.metric == metric and attack_label(r) == attack), None)


def base_evaluation(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """Return the evaluation of the base model; None for a resumed training without one."""
    return evaluations[0] if evaluations and evaluations[0].step == 0 else None


def separable_on_base(first: Evaluation | None, record_labels: RecordLabels) -> tuple[str, ...]:
    """Return the attacks that separate members from non-members on the base model, tested at a single evaluation."""
    if first is None:
        return ()
    return significant_attacks(
        {name: p_value_auc_above(scores, record_labels, CHANCE_AUC) for name, scores in first.scores.items()}, 1
    )


def leaking_attacks(
    evaluations: Sequence[Evaluation],
    record_labels: RecordLabels,
    planned_evaluations: int,
    gate: Gate | None = None,
    *,
    bound: float = CHANCE_AUC,
) -> tuple[str, ...]:
    """Return the attacks with an AUC significantly above `bound`, and above every blind classifier, at the last evaluation.

    An attack that separates the classes on the base model must also have a significantly higher AUC than there. If the split
    check is broken, no attack is returned.
    """
    if gate is not None and gate.verdict == "broken":
        return ()
    last, base = evaluations[-1].scores, base_evaluation(evaluations)
    p_values = {name: p_value_auc_above(scores, record_labels, bound) for name, scores in last.items()}
    for name in separable_on_base(base, record_labels):
        p_values[name] = max(p_values[name], p_value_auc_gain(last[name], evaluations[0].scores[name], record_labels))
    return _significant_above_blind(p_values, last, record_labels, planned_evaluations, gate, error=LEAK_ERROR)


def reversed_attacks(
    evaluations: Sequence[Evaluation],
    record_labels: RecordLabels,
    planned_evaluations: int,
    gate: Gate | None = None,
) -> tuple[str, ...]:
    """Return the attacks with an AUC significantly below chance, whose reversed score exceeds every blind classifier.

    The AUC must also be significantly below that of the base model. If the split check is broken, no attack is returned.
    """
    if gate is not None and gate.verdict == "broken":
        return ()
    last, base = negated(evaluations[-1].scores), base_evaluation(evaluations)
    p_values = {name: p_value_auc_above(scores, record_labels, CHANCE_AUC) for name, scores in last.items()}
    for name, before in negated(base.scores if base else {}).items():
        p_values[name] = max(p_values[name], p_value_auc_gain(last[name], before, record_labels))
    return _significant_above_blind(p_values, last, record_labels, planned_evaluations, gate, error=REVERSED_ERROR)


def _significant_above_blind(
    p_values: Mapping[str, float],
    scores: Mapping[str, Scores],
    record_labels: RecordLabels,
    planned_evaluations: int,
    gate: Gate | None,
    *,
    error: float,
) -> tuple[str, ...]:
    """Return the attacks that are significant by these p-values and above every blind classifier."""
    classifiers = () if gate is None else gate.compared_classifiers
    combined = {
        name: max(p, compare_with_blind(scores[name], record_labels, classifiers, error=error).p_value)
        for name, p in p_values.items()
    }
    return significant_attacks(combined, planned_evaluations, error=error)


def rising_attacks(
    evaluations: Sequence[Evaluation], record_labels: RecordLabels, planned_evaluations: int
) -> tuple[str, ...]:
    """Return the attacks with a significantly higher AUC than at the evaluation with the best validation perplexity.

    Empty while the last evaluation has the best perplexity: the model still learns more than its training texts.
    """
    perplexities = [(v, i) for i, e in enumerate(evaluations) if (v := e.value("perplexity")) is not None]
    if not perplexities:
        return ()
    last, best = evaluations[-1].scores, evaluations[min(perplexities)[1]].scores
    return significant_attacks(
        {name: p_value_auc_gain(last[name], best[name], record_labels) for name in last}, planned_evaluations
    )


def check_counts(counts: Mapping[str, Any]) -> None:
    """Raise `SettingError` for a setting that is not a whole number above 0."""
    for name, number in counts.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise SettingError(
                f"{name} = {shown_setting(number)}: the value is not a whole number above 0. Write one"
                f"{', or epoch' * (name == 'every')}."
            )


def check_stop_settings(stop_above: float | None, *, stop_when_rising: bool, has_validation: bool) -> None:
    """Raise `SettingError` for a `stop_above` outside [0.5, 1), and for a rule on perplexity without validation texts."""
    is_number = isinstance(stop_above, int | float) and not isinstance(stop_above, bool)
    if stop_above is not None and not (is_number and 0.5 <= stop_above < 1):  # noqa: PLR2004 - chance
        raise SettingError(
            f"stop_above = {shown_setting(stop_above)}: the value is not an AUC of at least 0.5 (chance) and below 1. "
            "Write, for example, 0.7."
        )
    if stop_when_rising and not has_validation:
        raise SettingError("stop_when_leakage_rises: it requires the validation perplexity. Pass texts as validation.")


def stop_reason(
    evaluations: Sequence[Evaluation],
    record_labels: RecordLabels,
    planned_evaluations: int,
    stop_above: float | None,
    gate: Gate | None = None,
    *,
    stop_when_rising: bool,
) -> str:
    """Return why training should stop; "" if it should continue, and always "" if the split check is broken."""
    if gate is not None and gate.verdict == "broken":
        return ""
    if stop_above is not None and (
        names := leaking_attacks(evaluations, record_labels, planned_evaluations, gate, bound=stop_above)
    ):
        return f"the AUC of {', '.join(names)} is significantly above {stop_above:g}"
    if stop_when_rising and (names := rising_attacks(evaluations, record_labels, planned_evaluations)):
        return f"the AUC of {', '.join(names)} is significantly higher than at the best validation perplexity, which no longer improves"
    return ""


def log_entries(evaluation: Evaluation, seconds: float) -> dict[str, float]:
    """Return an evaluation's numbers by logged name, with the seconds of all evaluations so far."""
    entries: dict[str, float] = {}
    for row in evaluation.rows:
        metric = "tpr" if row.metric == "tpr_at_fpr" else row.metric
        suffix = f"/{attack_label(row)}" if row.attack else _repetitions_suffix(row)
        entries[f"{PREFIX}{metric}{suffix}"] = row.value
        if row.metric == "auc" and row.low is not None and row.high is not None:
            entries |= {f"{PREFIX}auc_low{suffix}": row.low, f"{PREFIX}auc_high{suffix}": row.high}
    return {**entries, f"{PREFIX}seconds": seconds}


def _repetitions_suffix(row: Row) -> str:
    """Return what distinguishes the names of canaries with different numbers of repetitions: "/4x"."""
    if row.metric not in {"exposure", "canary_tpr"}:
        return ""
    return f"/{row_values.parse_settings(row.metric_settings).get('repeated', '1')}x"
