"""Write the model of a finished cell, after any observed epoch, to a folder that transformers or peft loads.

A store keeps the trained weights of the last epoch only. The model of an earlier epoch is trained again from the same texts and seed
until that epoch; on the same machine its weights are the same. The written folder is loaded, and its log-probabilities of audited texts
are compared with the stored ones, so that the folder contains the model that the study attacked.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.core.config import Machine
from byheart.core.errors import CellError, SettingError, StoreError
from byheart.core.new_folder import check_new_folder, new_folder
from byheart.core.types import Row
from byheart.lm.model_folder import ADAPTER_CONFIG
from byheart.store.result_files import check_files, damaged_result_error
from byheart.store.rows import filter_rows, study_notes, study_rows
from byheart.store.seal import MANIFEST
from byheart.store.store import Store
from byheart.study.cell_models import base_model, tuned_model, whole_model
from byheart.study.cell_tokens import stored_tokens
from byheart.study.checkpoints import write_adapter
from byheart.study.model_card import model_card
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan_cells
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.run_task import stored_study
from byheart.study.store_provider import CellContext
from byheart.study.train_and_observe import training_epochs, training_pairs
from byheart.study.training_format import training_dtype
from byheart.study.written_model import LARGEST_DIFFERENCES, difference_from_study

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel


class ExportedModel(NamedTuple):
    """A written model: its folder, the cell and the epoch that it is of, and how it was made and compared.

    `adapter_base` is the path or Hub id of the base model that an adapter needs; "" for a complete model. `difference` is the largest
    difference (nats per token) of a text's mean log-probability over `compared_texts` audited texts; None if the store has no
    log-probabilities of this epoch.
    """

    folder: Path
    cell: str
    epoch: float
    adapter_base: str
    is_trained_again: bool
    compared_texts: int
    difference: float | None


def export_model(
    store: Store,
    folder: Path,
    *,
    study: str | None = None,
    where: Sequence[str] = (),
    epoch: float | None = None,
    tell: ProgressCallback,
) -> ExportedModel:
    """Write the model of one finished cell to a new folder, with a model card: an adapter with its tokenizer, or a complete model.

    `where` are conditions on rows (`FIELD=VALUE`) that select the cell; `epoch` is an observed epoch, None the last one. The data,
    the base model and byheart must be those of the run.

    Raises `StoreError` for an existing folder, a folder inside the store, a packed study, and a store of several studies without
    `study`; `SettingError` for conditions of several cells and for another epoch; and `CellError` if the written model differs from
    the one that the study attacked.
    """
    _check_request(store, folder, where)
    name = study or _only_study(store)
    planned, machine = _selected_cell(store, name, filter_rows(study_rows(store, name), where))
    state = _observed_state(planned, epoch)
    with new_folder(folder, example="model") as draft:
        is_trained_again = _write(draft, planned, state, store, machine, tell)
        card = model_card(planned, state, store, name, is_adapter=(draft / ADAPTER_CONFIG).exists())
        (draft / "README.md").write_text(card, encoding="utf-8")
        for file in draft.iterdir():
            file.chmod(draft.stat().st_mode & 0o666)  # weights are written for their owner only
        tell(Event("begin", planned.label, "comparing with the study's model"))
        count, difference = difference_from_study(draft, planned, state, store, machine)
        if difference is not None and not difference <= LARGEST_DIFFERENCES[planned.scoring.precision]:
            raise CellError(
                f"{planned.label}: after {state.label} the model differs from the one that the study attacked, by {difference:.3g} nats "
                "per token. Export it on the machine, and with the packages, that ran the study."
            )
    return ExportedModel(
        folder.absolute(),
        planned.label,
        state.epoch,
        _adapter_base(folder),
        is_trained_again,
        count,
        difference,
    )


def _check_request(store: Store, folder: Path, where: Sequence[str]) -> None:
    check_new_folder(folder, example="model")
    if store.root.resolve() in folder.resolve().parents:
        raise StoreError(f"{folder}: this is inside the store {store.root}. Choose another folder with -o.")
    if (store.root / MANIFEST).exists():
        raise StoreError(
            f"store {store.root}: this is a packed study, which has no weights. Use the store of the run that it was packed from."
        )
    for condition in where:
        if condition.partition("=")[0] == "epoch":
            raise SettingError(f"--where {condition}: does not choose the epoch of the model. Write --epoch instead.")


def _only_study(store: Store) -> str:
    names = list(study_notes(store))
    if len(names) > 1:
        raise StoreError(f"store {store.root}: contains the studies {', '.join(sorted(names))}. Name one with --study.")
    return names[0] if names else ""


def _selected_cell(store: Store, study: str, rows: Sequence[Row]) -> tuple[PlannedCell, Machine]:
    """Return the planned cell of these rows, and the study's machine, without sharding."""
    keys = {row.cell for row in rows}
    parsed = stored_study(store, study)
    found = [p for p in plan_cells(parsed, store) if p.key in keys]
    if not found:
        raise StoreError(
            f"store {store.root}: the data, the base model or byheart changed since study {study!r} ran. Restore them. The weights after "
            f"the last epoch are in {store.root / 'training' / min(keys)}."
        )
    if len(found) > 1:
        listed = "; ".join(f"--where cell={p.key} ({p.label})" for p in found)
        raise SettingError(f"--where: selects {len(found)} models. Select one: {listed}.")
    return found[0], dataclasses.replace(parsed.machine, shard=1)


def _observed_state(planned: PlannedCell, epoch: float | None) -> ModelState:
    trained = [state for state in planned.states if state.epoch > 0]
    if epoch is None:
        return trained[-1]
    for state in trained:
        if state.epoch == epoch:
            return state
    listed = ", ".join(f"{state.epoch:g}" for state in trained)
    raise SettingError(
        f"--epoch {epoch:g}: the study attacked {planned.label} after epochs {listed}. Choose one of them."
    )


def _write(
    folder: Path, planned: PlannedCell, state: ModelState, store: Store, machine: Machine, tell: ProgressCallback
) -> bool:
    """Write the model to the folder; return whether it was trained again."""
    if state.epoch == planned.cell.training.epochs and store.has("training", planned.key):
        _write_stored(folder, planned, store.folder("training", planned.key))
        return False
    model = _trained_until(planned, state, store, machine, tell)
    _save(folder, model)
    return True


def _write_stored(folder: Path, planned: PlannedCell, stored: Path) -> None:
    from safetensors.torch import load_file

    from byheart.lm.load import load_tokenizer

    try:
        check_files(stored)
    except (OSError, ValueError) as error:
        raise damaged_result_error(stored, error) from error
    if (stored / "model").is_dir():
        shutil.copytree(stored / "model", folder, dirs_exist_ok=True)
    elif (stored / "adapter").is_dir():
        shutil.copytree(stored / "adapter", folder, dirs_exist_ok=True)
        load_tokenizer(planned.cell.base).save_pretrained(folder)
    else:
        _save(folder, whole_model(planned, load_file(stored / "trained.safetensors")))


def _trained_until(
    planned: PlannedCell, state: ModelState, store: Store, machine: Machine, tell: ProgressCallback
) -> LanguageModel:
    """Train the cell's model again, until an observed epoch."""
    from byheart.lm import load, train

    tell(Event("begin", planned.label, "loading the base model"))
    model = base_model(planned, machine)
    parts = ("train", "train_rejected") if planned.cell.training.objective else ("train",)
    tokens = {part: stored_tokens(planned, part, model, store) for part in parts}
    context = CellContext(planned, store, machine, tell, tokens)
    pairs = training_pairs(context, model)
    tuned = tuned_model(planned, machine, model)
    trained = train.with_hidden_cache(load.LanguageModel(tuned.module, model.tokenizer, model.name))
    precision = training_dtype(planned, store, machine, trained)
    for epoch in training_epochs(context, trained, tuned, pairs, precision=precision):
        tell(Event("begin", planned.label, f"trained again until epoch {epoch.number:g}"))
        if epoch.number == state.epoch:
            break
    return trained


def _adapter_base(folder: Path) -> str:
    config = folder / ADAPTER_CONFIG
    return str(json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]) if config.exists() else ""


def _save(folder: Path, model: LanguageModel) -> None:
    from peft import PeftModel

    module: Any = model.module
    if isinstance(module, PeftModel):
        write_adapter(folder, module)
    else:
        module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
