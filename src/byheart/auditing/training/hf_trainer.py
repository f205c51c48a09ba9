"""What a trainer's callback is not handed: the trainer's own logs, and the word of the first process."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from accelerate.utils import broadcast_object_list

from byheart.core.errors import ByheartError, ModelError

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState


def calling_trainer() -> Trainer | None:
    """Return the trainer that is calling its callbacks now, found among the callers; None for another kind of loop.

    No argument of a callback leads to it, and a callback that adds numbers to the `logs` of its own `on_log` comes after
    the loggers, which trainers put first.
    """
    from transformers import Trainer

    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer):
            return owner
        frame = frame.f_back
    return None


def log(trainer: Trainer | None, numbers: dict[str, float], state: TrainerState, control: TrainerControl) -> None:
    """Log numbers as the trainer logs its own: to its history and to every logger."""
    if trainer is None:
        state.log_history.append({**numbers, "epoch": state.epoch or 0.0, "step": state.global_step})
        return
    from transformers import Trainer

    # The base class's: `SFTTrainer.log` would write its running means beside these numbers, and forget them.
    due = control.should_log
    Trainer.log(trainer, numbers)
    control.should_log = due  # logging takes back what the trainer is about to log of this step


def broadcast_from_rank_zero(
    compute: Callable[[], bool], state: TrainerState, on_other_ranks: Callable[[], object] | None = None
) -> bool:
    """Return on every process what the first one makes, which it makes alone, or while the others run `beside`.

    Raises `ModelError` on the others where the first one raised.
    """
    told: list[bool | None] = [None]
    try:
        if state.is_world_process_zero:
            told[0] = compute()
        elif on_other_ranks is not None:
            with suppress(ByheartError):  # the first process meets the same, and says it
                on_other_ranks()
    finally:
        # Also when it raised: the others would wait for ever.
        broadcast_object_list(told)
    if told[0] is None:
        raise ModelError("the first process could not look at the model; its own message says why")
    return told[0]
