"""Access to the calling trainer, its data and its logs, and a broadcast from rank 0."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list

from byheart.core.errors import ByheartError, ModelError

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState


def calling_trainer() -> Trainer | None:
    """Return the trainer that is calling its callbacks, from the call stack; None for another training loop.

    No callback argument refers to the trainer, and numbers added to `logs` in `on_log` come too late, because trainers
    call the loggers first.
    """
    from transformers import Trainer

    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer):
            return owner
        frame = frame.f_back
    return None


def planned_evaluations(state: TrainerState, steps: int | None) -> int:
    """Return the number of evaluations after the first step: one per `steps` steps, or without `steps` one per epoch."""
    return math.ceil(state.max_steps / steps) if steps else min(state.num_train_epochs, state.max_steps)


def is_streamed(train_dataloader: Any) -> bool:
    """Whether the training data have no length, so that the trainer knows only steps, and its epoch is a share of them."""
    from transformers.trainer_utils import has_length

    return train_dataloader is not None and not has_length(train_dataloader)


def log(trainer: Trainer | None, numbers: dict[str, float], state: TrainerState, control: TrainerControl) -> None:
    """Log numbers like the trainer's own: to its history and to every logger."""
    if trainer is None:
        state.log_history.append({**numbers, "epoch": state.epoch or 0.0, "step": state.global_step})
        return
    from transformers import Trainer

    # The base class's method: `SFTTrainer.log` would log and reset its running means together with these numbers.
    should_log = control.should_log
    Trainer.log(trainer, numbers)
    control.should_log = should_log  # logging resets it, and the trainer's own log of this step would be lost


def broadcast_from_rank_zero(
    compute: Callable[[], bool], state: TrainerState, on_other_ranks: Callable[[], object] | None = None
) -> bool:
    """Return rank 0's result of `compute` on every rank; the other ranks run `on_other_ranks` meanwhile.

    Raises `ModelError` on the other ranks if rank 0 raised.
    """
    result: list[bool | None] = [None]
    try:
        if state.is_world_process_zero:
            result[0] = compute()
        elif on_other_ranks is not None:
            with suppress(ByheartError):  # rank 0 raises and reports the same error
                on_other_ranks()
    finally:
        # Also after an error, because the other ranks would wait forever.
        broadcast_object_list(result)
    if result[0] is None:
        raise ModelError("rank 0: the evaluation of the model failed. See the error message of rank 0.")
    return result[0]


def log_duration(evaluations: int, seconds: float, share: float) -> None:
    """Log the time of all evaluations, in seconds and as a share of the training time."""
    message = "%d evaluations took %.1f s (%.0f %% of the training time); limit it with max_texts, max_tokens and every"
    logging.getLogger(__name__).info(message, evaluations, seconds, 100 * share)
