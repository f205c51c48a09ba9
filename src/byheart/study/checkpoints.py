"""Stored states of a training: the state after each epoch, for resuming, and the trained weights at the end.

All files are safetensors, never pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.store.store import Store, damaged_result_error
from byheart.study.planned_cell import PlannedCell

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel


def _key(planned: PlannedCell, epoch: int) -> str:
    return f"{planned.key}-{epoch}"


def latest_state(planned: PlannedCell, store: Store, *, before: int) -> tuple[int, dict[str, Any]] | None:
    """Return the number and the state of the latest stored epoch `before` this one; None if no state is stored."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for epoch in range(before - 1, 0, -1):
        if store.has("states", _key(planned, epoch)):
            folder = store.folder("states", _key(planned, epoch))
            try:
                return epoch, load_file(folder / "state.safetensors")
            except (OSError, SafetensorError) as error:
                raise damaged_result_error(folder, error) from error
    return None


def save_state(planned: PlannedCell, store: Store, epoch: Any, facts: Mapping[str, list[float]]) -> None:
    """Store this epoch's state, then delete the previous one, so that one state always exists."""
    import torch
    from safetensors.torch import save_file

    recipe = {**planned.recipe, "epoch": epoch.number}
    state = {**epoch.state(), **{n: torch.tensor(v, dtype=torch.float64) for n, v in facts.items()}}
    store.get_or_make(
        "states", _key(planned, epoch.number), recipe, lambda f: save_file(state, f / "state.safetensors")
    )
    store.drop("states", _key(planned, epoch.number - 1))


def drop_states(planned: PlannedCell, store: Store) -> None:
    """Delete the states of all epochs, after the training is complete."""
    for epoch in planned.epochs:
        store.drop("states", _key(planned, epoch))


def write_weights(folder: Path, model: LanguageModel) -> None:
    """Write the final weights: an adapter's folder, the full model if all of it was trained, else the trained parameters."""
    from peft import PeftModel
    from safetensors.torch import save_file

    from byheart.lm.train import trainable_parameters

    module: Any = model.module
    trained = trainable_parameters(module)
    if isinstance(module, PeftModel):
        module.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
    elif len(trained) == len(list(module.parameters())):
        module.save_pretrained(folder / "model")
        model.tokenizer.save_pretrained(folder / "model")
    else:
        save_file({n: p.detach().cpu().contiguous() for n, p in trained.items()}, folder / "trained.safetensors")
