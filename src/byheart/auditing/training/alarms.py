"""What repeated looks at a model in training allow to be said: numbers, their rows, and an alarm that looks do not wear out.

Every look attacks the same texts again, so a 95 % interval would leave chance sooner or later on a model that leaks
nothing. An alarm, and a stop, therefore need a p-value that holds over the whole run: at each look the attacks' p-values
are adjusted by S. Holm (Scandinavian Journal of Statistics 6 (1979) 65-70), and the looks by Bonferroni, since the
number of looks is known before the first and nothing need be known of how looks depend on one another. The chance of
any false alarm in the run is then at most `ALPHA`. The intervals that are logged stay the plain 95 % ones.

The p-value of an AUC is one-sided and of the test that its interval is made from: DeLong's variance by group on the logit
scale with Student's t, and Hoeffding's bound where there is no variance (see `inference`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from byheart.analysis.labels import attack_label
from byheart.core.types import Row, Scores
from byheart.stats.leakage_tests import (
    CHANCE_AUC,
    RecordLabels,
    p_value_auc_above,
    p_value_auc_gain,
    significant_attacks,
)

PREFIX = "eval_memorization/"
"""What the names of logged numbers begin with: loggers put what begins with eval_ into a section of its own."""


class Evaluation(NamedTuple):
    """One look at the model: after how many optimiser steps and epochs, each attack's scores, and all numbers as rows."""

    step: int
    epoch: float
    scores: Mapping[str, Scores]
    rows: tuple[Row, ...]

    def value(self, metric: str, attack: str = "") -> float | None:
        """Return a number of this look; None where it was not measured."""
        return next((r.value for r in self.rows if r.metric == metric and attack_label(r) == attack), None)


def base_evaluation(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """Return the look at the untuned model; None where a training was resumed that no longer has it."""
    return evaluations[0] if evaluations and evaluations[0].step == 0 else None


def separable_on_base(first: Evaluation | None, record_labels: RecordLabels) -> tuple[str, ...]:
    """Return the attacks that tell members from non-members on the untuned model, at a single look."""
    if first is None:
        return ()
    return significant_attacks(
        {name: p_value_auc_above(scores, record_labels, CHANCE_AUC) for name, scores in first.scores.items()}, 1
    )


def leaking_attacks(
    evaluations: Sequence[Evaluation],
    record_labels: RecordLabels,
    planned_evaluations: int,
    *,
    bound: float = CHANCE_AUC,
) -> tuple[str, ...]:
    """Return the attacks whose AUC at the last look is above `bound` beyond chance.

    Where an attack told the sides apart on the untuned model, its AUC must also have risen since.
    """
    now, first = evaluations[-1].scores, base_evaluation(evaluations)
    found = {name: p_value_auc_above(scores, record_labels, bound) for name, scores in now.items()}
    for name in separable_on_base(first, record_labels):
        found[name] = max(found[name], p_value_auc_gain(now[name], evaluations[0].scores[name], record_labels))
    return significant_attacks(found, planned_evaluations)


def rising_attacks(
    evaluations: Sequence[Evaluation], record_labels: RecordLabels, planned_evaluations: int
) -> tuple[str, ...]:
    """Return the attacks whose AUC has risen beyond chance since the look of the best validation perplexity.

    None while the last look is the best: the model still learns more than its training texts.
    """
    useful = [(v, i) for i, look in enumerate(evaluations) if (v := look.value("perplexity")) is not None]
    if not useful:
        return ()
    now, then = evaluations[-1].scores, evaluations[min(useful)[1]].scores
    return significant_attacks(
        {name: p_value_auc_gain(now[name], then[name], record_labels) for name in now}, planned_evaluations
    )


def stop_reason(
    evaluations: Sequence[Evaluation],
    record_labels: RecordLabels,
    planned_evaluations: int,
    stop_above: float | None,
    *,
    stop_when_rising: bool,
) -> str:
    """Return why training should stop, in words; "" where it should go on."""
    if stop_above is not None and (
        names := leaking_attacks(evaluations, record_labels, planned_evaluations, bound=stop_above)
    ):
        return f"{', '.join(names)} has an AUC above {stop_above:g} beyond chance"
    if stop_when_rising and (names := rising_attacks(evaluations, record_labels, planned_evaluations)):
        return f"the validation perplexity no longer improves, and the AUC of {', '.join(names)} has risen since it did"
    return ""


def log_entries(evaluation: Evaluation, seconds: float) -> dict[str, float]:
    """Return a look's numbers by the names that they are logged under, with the seconds of all looks so far."""
    found: dict[str, float] = {}
    for row in evaluation.rows:
        metric = "tpr" if row.metric == "tpr_at_fpr" else row.metric
        tail = f"/{attack_label(row)}" if row.attack else ""
        found[f"{PREFIX}{metric}{tail}"] = row.value
        if row.metric == "auc" and row.low is not None and row.high is not None:
            found |= {f"{PREFIX}auc_low{tail}": row.low, f"{PREFIX}auc_high{tail}": row.high}
    return {**found, f"{PREFIX}seconds": seconds}
