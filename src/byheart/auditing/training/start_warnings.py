"""Warnings before the first step of a monitored training: sharded weights, doubts, texts that differ on the base model."""

from __future__ import annotations

from peft import PeftModel

from byheart.auditing.training.alarms import Evaluation, separable_on_base
from byheart.auditing.training.monitor import TrainingMonitor
from byheart.auditing.training.warning import warn
from byheart.core.errors import ModelError
from byheart.lm.preserve_state import why_no_base


def warn_about_sharding(how: str, *, can_stop: bool, is_rank_zero: bool) -> None:
    """Warn that sharded weights are not evaluated; raise `ModelError` if the callback should be able to stop the training."""
    if can_stop:
        raise ModelError(
            f"MemorizationCallback: {how} shards the weights over processes, so the callback can neither evaluate nor stop this "
            "training. Remove stop_above and stop_when_leakage_rises, or train with FSDP2 or DistributedDataParallel."
        )
    if is_rank_zero:
        warn(
            f"{how} shards the weights over processes, so the callback does not evaluate this training. Save the full model "
            "after training and audit it: byheart audit --model FOLDER --members FILE --nonmembers FILE"
        )


def warn_about_texts(monitor: TrainingMonitor) -> None:
    """Warn about the monitor's doubts and about a broken split."""
    for doubt in monitor.doubts:
        warn(doubt)
    if (gate := monitor.gate) is not None and gate.verdict == "broken":
        warn(f"no number of this training can be read as leakage, so nothing warns or stops: {gate.reasons[0]}")


def is_base_missing(monitor: TrainingMonitor, step: int) -> bool:
    """Whether a training that resumes from this step has no base model; warns if so."""
    has_base = isinstance(monitor.module, PeftModel) and not why_no_base(monitor.module)
    if not step or has_base:
        return False
    warn(
        f"training resumes from step {step}, so the base model is not available: attacks that compare with the "
        "base model compare with the resumed model instead"
    )
    return True


def warn_about_separable_texts(base: Evaluation, monitor: TrainingMonitor) -> None:
    """Warn if attacks separate members from non-members on the base model."""
    if monitor.record_labels.has_enough_groups and (names := separable_on_base(base, monitor.record_labels)):
        warn(
            f"members and non-members differ before training: {', '.join(names)} separates them on the base model. Later AUCs "
            "include this difference, and a warning requires an AUC above it"
        )
