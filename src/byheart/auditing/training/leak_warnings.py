"""Warnings about attacks that separate members from non-members during training, once per attack and direction."""

from __future__ import annotations

from collections.abc import Sequence

from byheart.auditing.training.alarms import Evaluation, leaking_attacks, reversed_attacks, stop_reason
from byheart.auditing.training.warning import warn
from byheart.core.split_check import Gate
from byheart.stats.leakage_tests import RecordLabels


def warn_about_leaks(
    evaluations: Sequence[Evaluation],
    record_labels: RecordLabels,
    planned_evaluations: int,
    gate: Gate | None,
    *,
    leaking: list[str],
    leaking_in_reverse: list[str],
) -> None:
    """Warn about the attacks that leak at the last evaluation, and add them to the lists of attacks with a warning."""
    last = evaluations[-1]
    arguments = (evaluations, record_labels, planned_evaluations, gate)
    position = f"after step {last.step} (epoch {last.epoch:.2f})"
    if new := [n for n in leaking_attacks(*arguments) if n not in leaking]:
        warn(
            f"the model leaks its training texts {position}: {_auc_text(last, new)} (chance: 0.5). The probability of any false "
            f"alarm in all {planned_evaluations} evaluations is at most 5 %"
        )
    if new_in_reverse := [n for n in reversed_attacks(*arguments) if n not in leaking_in_reverse]:
        warn(
            f"the model leaks its training texts in reverse {position}: {_auc_text(last, new_in_reverse)} (chance: 0.5). They score "
            f"below unseen texts, so an adversary who reverses the score identifies them. The probability of any false alarm in all "
            f"{planned_evaluations} evaluations is at most 5 %"
        )
    leaking += new
    leaking_in_reverse += new_in_reverse


def must_stop(
    evaluations: Sequence[Evaluation],
    record_labels: RecordLabels,
    planned_evaluations: int,
    gate: Gate | None,
    *,
    stop_above: float | None,
    stop_when_rising: bool,
) -> bool:
    """Whether the last evaluation ends the training; warns with the reason if so."""
    reason = stop_reason(
        evaluations, record_labels, planned_evaluations, stop_above, gate, stop_when_rising=stop_when_rising
    )
    if reason:
        warn(f"training stops after step {evaluations[-1].step}: {reason}")
    return bool(reason)


def _auc_text(evaluation: Evaluation, attacks: Sequence[str]) -> str:
    return ", ".join(f"{name} has AUC {evaluation.value('auc', name):.3f}" for name in attacks)
