"""Stored training states: the state after the last observed epoch, for resuming, and the trained weights at the end.

All files are safetensors, never pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.core.config import Machine
from byheart.core.errors import StoreError
from byheart.store.result_files import check_files, damaged_result_error, read_json
from byheart.store.store import Store
from byheart.study.planned_cell import PlannedCell

if TYPE_CHECKING:
    from peft import PeftModel

    from byheart.lm.load import LanguageModel


def _key(planned: PlannedCell, epoch: float) -> str:
    return f"{planned.key}-{epoch}"


def stored_epochs(planned: PlannedCell, store: Store) -> list[float]:
    """Return the epochs with a stored state, in order; whole ones are `int`. A fraction is inside an epoch."""
    names = (k.rpartition("-")[2] for k in store.keys("states") if k.startswith(f"{planned.key}-"))
    return sorted(int(n) if n.isdecimal() else float(n) for n in names)


def latest_state(planned: PlannedCell, store: Store, *, until: float) -> tuple[float, dict[str, Any]] | None:
    """Return the number and the state of the latest stored epoch up to this one; None if no state is stored."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    epoch = max((e for e in stored_epochs(planned, store) if e <= until), default=None)
    if epoch is None:
        return None
    folder = store.folder("states", _key(planned, epoch))
    try:
        check_files(folder)
        return epoch, load_file(folder / "state.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged_result_error(folder, error) from error


def save_state(
    planned: PlannedCell, store: Store, epoch: Any, facts: Mapping[str, list[float]], *, precision: str
) -> None:
    """Store this epoch's state, then delete the previous ones, so that one state always exists.

    The last epoch's state has the weights only: it serves its observations, and no training follows.
    """
    import torch
    from safetensors.torch import save_file

    recipe = {**planned.recipe, "epoch": epoch.number, "precision": precision}
    is_last = epoch.number == planned.cell.training.epochs
    kept = {n: v for n, v in epoch.state().items() if n.startswith("weight/") or not is_last}
    state = {**kept, **{n: torch.tensor(v, dtype=torch.float64) for n, v in facts.items()}}
    store.get_or_make(
        "states", _key(planned, epoch.number), recipe, lambda f: save_file(state, f / "state.safetensors")
    )
    for previous in stored_epochs(planned, store):
        if previous < epoch.number:
            store.drop("states", _key(planned, previous))


def training_precision(planned: PlannedCell, store: Store) -> str:
    """Return the number format of the stored training, finished or not; "" if nothing is stored or an older version trained it."""
    if store.has("training", planned.key):
        return str(read_json(store.folder("training", planned.key) / "facts.json").get("precision", ""))
    keys = [_key(planned, epoch) for epoch in stored_epochs(planned, store)]
    return next((str(store.recipe("states", k)["recipe"].get("precision", "")) for k in keys), "")


def check_precision(planned: PlannedCell, store: Store, machine: Machine) -> None:
    """Raise `StoreError` if a study sets another precision than that of the stored training, which has the same key."""
    if machine.precision == "auto":
        return
    stored = training_precision(planned, store)
    if stored in {"", machine.precision}:
        return
    raise StoreError(
        f"store {store.root}: {planned.label} was trained in {stored}, but machine.precision is {machine.precision}. "
        f"Remove machine.precision, or choose another folder with --store."
    )


def drop_states(planned: PlannedCell, store: Store) -> None:
    """Delete the states of all epochs, after the training is complete."""
    for epoch in stored_epochs(planned, store):
        store.drop("states", _key(planned, epoch))


def drop_states_of_stored_trainings(store: Store) -> None:
    """Delete the states that a run left behind because it was killed after it stored the training."""
    for key in store.keys("states"):
        if store.has("training", key.rpartition("-")[0]):
            store.drop("states", key)


def write_weights(folder: Path, model: LanguageModel) -> None:
    """Write the final weights: an adapter's folder, the full model if all of it was trained, else the trained parameters."""
    from peft import PeftModel
    from safetensors.torch import save_file

    from byheart.lm.train import trainable_parameters

    module: Any = model.module
    trained = trainable_parameters(module)
    if isinstance(module, PeftModel):
        write_adapter(folder / "adapter", module)
    elif len(trained) == len(list(module.parameters())):
        module.save_pretrained(folder / "model")
        model.tokenizer.save_pretrained(folder / "model")
    else:
        save_file({n: p.detach().cpu().contiguous() for n, p in trained.items()}, folder / "trained.safetensors")


def write_adapter(folder: Path, module: PeftModel) -> None:
    """Write an adapter's folder, with the same bytes in every process, and without the empty model card that peft adds."""
    module.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    _sort_module_names(folder / "adapter_config.json")


def _sort_module_names(config: Path) -> None:
    """Sort the names of modules: peft writes a set of them, whose order differs between processes."""
    content = json.loads(config.read_text(encoding="utf-8"))
    for name in ("target_modules", "exclude_modules"):
        if isinstance(content.get(name), list):
            content[name] = sorted(content[name])
    config.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")
