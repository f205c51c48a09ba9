"""Run the preflight of a training, and refuse, warn or continue by its setting."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from byheart.auditing.canaries.texts import planted_canaries
from byheart.auditing.training.preflight.check import WatchedTexts, preflight
from byheart.auditing.training.preflight.report import Preflight
from byheart.auditing.training.warning import error_text, warn
from byheart.core.errors import DataError, SettingError
from byheart.core.setting_values import shown_setting
from byheart.lm.model_tokens import tokenize_for_model
from byheart.lm.preserve_state import preserve_training_state

if TYPE_CHECKING:
    from transformers import Trainer

    from byheart.auditing.training.monitor import TrainingMonitor
    from byheart.data.canary_manifest import PlantedSet

PreflightMode = Literal["refuse", "warn", "off"]


def check_mode(mode: str) -> None:
    """Raise `SettingError` for an unknown mode."""
    if mode not in ("refuse", "warn", "off"):
        raise SettingError(f"preflight = {shown_setting(mode)}: unknown mode. Write refuse, warn or off.")


def check_training_data(
    trainer: Trainer | None,
    monitor: TrainingMonitor,
    canaries: PlantedSet | None,
    *,
    mode: PreflightMode,
    are_members_canaries: bool,
) -> Preflight | None:
    """Return the report on a trainer's data, None if the mode is off. Warns of problems, or raises `DataError` to refuse them.

    Data that cannot be read are refused, and with `warn` only reported.
    """
    if mode == "off":
        return None
    report = _report(trainer, monitor, canaries, are_members_canaries=are_members_canaries)
    logging.getLogger(__name__).info("%s", report.text())
    if report.problems and mode == "refuse":
        raise DataError(
            f'preflight: {"; ".join(report.problems)}. Correct the training data or the watched texts, or pass preflight="warn".'
        )
    if report.problems and not report.unread:
        warn(f"preflight: {'; '.join(report.problems)}")
    return report


def _report(
    trainer: Trainer | None, monitor: TrainingMonitor, canaries: PlantedSet | None, *, are_members_canaries: bool
) -> Preflight:
    if trainer is None:
        return Preflight({}, 0, is_complete=False, unread="the training loop is not a transformers Trainer")
    try:
        with preserve_training_state(monitor.module):
            watched = _watched(monitor, canaries, are_members_canaries=are_members_canaries)
            return preflight(trainer, monitor.scorer.model.tokenizer, watched)
    except Exception as error:  # noqa: BLE001 - a data set or collator of anybody's, and training should not fail in its preflight
        return Preflight({}, 0, is_complete=False, unread=error_text(error))


def _watched(
    monitor: TrainingMonitor, canaries: PlantedSet | None, *, are_members_canaries: bool
) -> list[WatchedTexts]:
    """Return the watched members and non-members, and all canaries."""
    model, texts = monitor.scorer.model, monitor.split.audited
    longest = int(monitor.tokens.lengths.max())
    parts: list[WatchedTexts] = []
    if not are_members_canaries:
        members = len(monitor.split.members)
        for part, chosen, copies in (
            ("members", range(members), 1),
            ("non-members", range(members, len(texts)), 0),
        ):
            taken = texts.take(chosen)
            if len(taken):
                parts.append(WatchedTexts(part, tokenize_for_model(model, taken, longest), [copies] * len(taken)))
    if canaries is not None:
        planted = planted_canaries(canaries, model.tokenizer)
        for part, included in (("canaries", True), ("held-out canaries", False)):
            places = [i for i, is_included in enumerate(planted.included) if is_included == included]
            if places:
                tokens = tokenize_for_model(model, planted.texts.take(places), longest)
                parts.append(WatchedTexts(part, tokens, [planted.repetitions[i] * included for i in places]))
    return parts
