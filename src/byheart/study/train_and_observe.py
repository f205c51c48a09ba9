"""Train and observe a cell: every step that needs a model, epoch by epoch, resuming from the last stored state."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.core.config import Machine
from byheart.core.errors import DataError
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice
from byheart.stats.dp_accounting import privacy_settings
from byheart.store.store import Store
from byheart.study.base_formats import check_trained_in_float32, default_training_precision
from byheart.study.cell_tokens import check_tokens, stored_tokens
from byheart.study.checkpoints import drop_states, latest_state, save_state, training_precision, write_weights
from byheart.study.observed_states import BASE, INITIALIZED, ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.remaining_work import epoch_work
from byheart.study.store_provider import CellContext, StoreProvider

if TYPE_CHECKING:
    import torch

    from byheart.lm.load import LanguageModel, TrainableModel


def observe(
    planned: PlannedCell,
    missing: Mapping[ModelState, tuple[Choice, ...]],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    *,
    base_only: bool = False,
) -> None:
    """Train as far as needed and make every missing observation, state by state, resuming from the last stored state.

    With `base_only`, nothing is trained; only the missing observations of the base model are made.
    """
    from byheart.lm import base_cache, load, train

    on_event(Event("begin", planned.label, "loading the base model"))
    device = load.torch_device(machine.device)
    model = base_cache.borrow(planned.cell.base, device, base_format=planned.cell.base_format)
    tokens = {part: stored_tokens(planned, part, model, store) for part, texts in planned.texts.items() if len(texts)}
    check_tokens(planned, model, tokens)
    context = CellContext(planned, store, machine, on_event, tokens)
    make_evidence(missing.get(BASE, ()), StoreProvider(context, BASE, model))
    initialized = missing.get(INITIALIZED, ())
    trained = {state.epoch: observations for state, observations in missing.items() if state.epoch > 0}
    is_trained = not trained and store.has("training", planned.key)
    if base_only or (is_trained and not initialized):
        return
    train.seed_rngs(planned.key)
    tuned = planned.cell.method(model)
    if planned.cell.base_format.quantize is None:
        tuned.module.to(device)
    check_trained_in_float32(planned, tuned.module)
    base_cache.copy_shared_trainable_weights(tuned.module)
    tuned_model = train.with_hidden_cache(load.LanguageModel(tuned.module, model.tokenizer, model.name))
    if initialized:
        tuned.module.eval()
        make_evidence(initialized, StoreProvider(context, INITIALIZED, tuned_model))
    if not is_trained:
        _train(context, trained, tuned_model, tuned)


def release_base_model() -> None:
    """Release the base model that this process caches between cells, if it loaded one."""
    base_cache = sys.modules.get("byheart.lm.base_cache")
    if base_cache is not None:
        base_cache.release()


class _TrainingLog(NamedTuple):
    """Mean loss (nats per token) and seconds of each epoch; the last items are of the current epoch."""

    losses: list[float]
    seconds: list[float]

    def add(self, epoch: float, loss: float, seconds: float) -> None:
        """Add the loss until this number of epochs, and the seconds since the last call."""
        self.losses[math.ceil(epoch) - 1 :] = [loss]
        self.seconds.extend([0.0] * (math.ceil(epoch) - len(self.seconds)))
        self.seconds[-1] += seconds


def _train(
    context: CellContext,
    observations_by_epoch: Mapping[float, tuple[Choice, ...]],
    model: LanguageModel,
    tuned: TrainableModel,
) -> None:
    from byheart.lm import train

    planned, store, settings = context.planned, context.store, context.planned.cell.training
    _check_declared_privacy(planned, tuned)
    first = min(observations_by_epoch, default=settings.epochs)
    start = latest_state(planned, store, before=first)
    done, log = _begin_or_resume(context, start)
    precision = _training_dtype(context, model)
    precision_name = str(precision).removeprefix("torch.")
    epochs = train.train(
        model,
        context.tokens["train"],
        training=settings,
        learning_rate=settings.learning_rate or tuned.learning_rate,
        key=planned.key,
        precision=precision,
        budget=context.machine.token_budget,
        inside_epochs=planned.inside_epochs,
        resume_from=start,
        dp_parameters=planned.spending,
    )
    start_time = time.monotonic()
    for epoch in epochs:
        number = epoch.number
        log.add(number, epoch.loss, time.monotonic() - start_time)
        text = f"epoch {number:g} trained, loss {epoch.loss:.3f}"
        context.on_event(Event("step", planned.label, text, (number - done) * epoch_work(planned)))
        make_evidence(observations_by_epoch.get(number, ()), StoreProvider(context, ModelState(number), model))
        if number < settings.epochs:
            save_state(planned, store, epoch, log._asdict(), precision=precision_name)
        done, start_time = number, time.monotonic()
    if not planned.is_trial:  # a trial's perplexity is stored, and nothing reads its weights
        _store_training(context, model, tuned, log, precision_name)
    drop_states(planned, store)


def _begin_or_resume(context: CellContext, start: tuple[float, dict[str, Any]] | None) -> tuple[float, _TrainingLog]:
    """Return the number of finished epochs and their log, which is removed from the stored state."""
    label = context.planned.label
    if start is None:
        context.on_event(Event("begin", label, f"training epoch 1 of {context.planned.cell.training.epochs}"))
        return 0.0, _TrainingLog([], [])
    done, state = start
    log = _TrainingLog(*([float(x) for x in state.pop(n)] for n in _TrainingLog._fields))
    context.on_event(Event("begin", label, f"resuming after epoch {done:g}", done * epoch_work(context.planned)))
    return done, log


def _training_dtype(context: CellContext, model: LanguageModel) -> torch.dtype:
    """Return the number format of training: that of the stored training, if this one resumes or repeats it."""
    from byheart.lm import train
    from byheart.lm.placement import device_of

    stored: Any = training_precision(context.planned, context.store)
    choice = stored or default_training_precision(context.machine, context.planned.cell.base_format)
    return train.training_dtype(choice, device_of(model.module))


def _store_training(
    context: CellContext, model: LanguageModel, tuned: TrainableModel, log: _TrainingLog, precision: str
) -> None:
    """Store the trained weights and the facts that rows report."""
    from byheart.lm import train

    planned = context.planned
    facts = {
        "trained_parameters": sum(p.numel() for p in train.trainable_parameters(model.module).values()),
        "learning_rate": planned.cell.training.learning_rate or tuned.learning_rate,
        "precision": precision,
        **log._asdict(),
        "truncated_texts": _truncated_text_count(context),
        **_privacy_facts(planned),
    }

    def make(folder: Path) -> None:
        if not planned.shadow_label:  # weights of the many shadow models are not needed: their evidence is stored
            write_weights(folder, model)
        (folder / "facts.json").write_text(json.dumps(facts))

    context.store.get_or_make("training", planned.key, planned.recipe, make)


def _check_declared_privacy(planned: PlannedCell, tuned: TrainableModel) -> None:
    """Raise `DataError` if a method returns other privacy settings than its file declares."""
    declared = privacy_settings(planned.cell.method)
    if tuned.privacy != declared:
        raise DataError(
            f"methods {planned.cell.method.name}: returned privacy = {tuned.privacy}, but its file declares {declared}. "
            "Set PRIVATE = True in the file and return its settings unchanged."
        )


def _privacy_facts(planned: PlannedCell) -> dict[str, Any]:
    """Return noise, delta and the accountant's epsilon by epoch for private training; {} for other training."""
    if planned.spending is None:
        return {}
    epsilons = [planned.spending.epsilon(e) for e in planned.epochs]
    return {
        "noise_multiplier": planned.spending.noise_multiplier,
        "delta": planned.spending.delta,
        "accountant_epsilon": epsilons,
    }


def _truncated_text_count(context: CellContext) -> int:
    """Return the number of truncated texts; members count once."""
    nonmembers = context.tokens["audited"].cut[len(context.planned.split.members) :]
    return sum(int((c > 0).sum()) for c in (context.tokens["train"].cut, nonmembers, context.tokens["validation"].cut))
