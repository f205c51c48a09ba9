"""Train and observe a cell: every step that needs a model, epoch by epoch, resuming from the last stored state."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.core.config import Machine
from byheart.core.dependencies import INITIAL_INPUTS
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice
from byheart.store.store import Store
from byheart.study.cell_models import base_model, gathered_weights, processes_of, tuned_model, whole_model
from byheart.study.cell_tokens import check_tokens, stored_tokens
from byheart.study.checkpoints import drop_states, latest_state, save_state, write_weights
from byheart.study.observed_states import BASE, INITIALIZED, ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.remaining_work import epoch_work
from byheart.study.store_provider import CellContext, StoreProvider
from byheart.study.training_facts import check_declared_privacy, training_facts
from byheart.study.training_format import training_dtype

if TYPE_CHECKING:
    import torch

    from byheart.lm.load import LanguageModel, TrainableModel
    from byheart.lm.preference_loss import PreferencePairs
    from byheart.lm.train import Epoch


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

    With `base_only`, nothing is trained; only the missing observations of the base model are made. Processes that share the
    model's weights do the same.
    """
    processes = processes_of(machine)
    processes.send((planned, dict(missing), base_only))
    work = partial(observe_in_step, planned, missing, base_only, store=store, machine=machine, on_event=on_event)
    processes.together(work)


def observe_in_step(
    planned: PlannedCell,
    missing: Mapping[ModelState, tuple[Choice, ...]],
    base_only: bool,  # noqa: FBT001 - sent to other processes in this order
    *,
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
) -> None:
    """Observe as `observe` does, in this process; processes that share a model's weights must all call it."""
    from byheart.lm import load, train
    from byheart.lm.displacement_origin import initial_values

    on_event(Event("begin", planned.label, "loading the base model"))
    processes, model = processes_of(machine), base_model(planned, machine)
    parts = [part for part, texts in planned.texts.items() if len(texts)]
    tokens = {part: processes.agree(partial(stored_tokens, planned, part, model, store)) for part in parts}
    check_tokens(planned, model, tokens)
    context = CellContext(planned, store, machine, on_event, tokens)
    make_evidence(missing.get(BASE, ()), StoreProvider(context, BASE, model))
    initialized = missing.get(INITIALIZED, ())
    trained = {state.epoch: observations for state, observations in missing.items() if state.epoch > 0}
    is_trained = not trained and processes.agree(partial(store.has, "training", planned.key))
    if base_only or (is_trained and not initialized):
        return
    # Before the method changes the base model, which is the reference of preference tuning.
    pairs = None if is_trained else training_pairs(context, model)
    if processes.size > 1:
        model = model.without_weights()
    tuned = tuned_model(planned, machine, model)
    language_model = train.with_hidden_cache(load.LanguageModel(tuned.module, model.tokenizer, model.name))
    if any(set(INITIAL_INPUTS) & set(o.needs) for observations in missing.values() for o in observations):
        context = dataclasses.replace(context, initial_weights=initial_values(tuned.module))
    if initialized:
        tuned.module.eval()
        make_evidence(initialized, StoreProvider(context, INITIALIZED, language_model))
    if not is_trained:
        _train(context, trained, language_model, tuned, pairs)


def training_pairs(context: CellContext, model: LanguageModel) -> PreferencePairs | None:
    """Return the training pairs with the reference model's numbers; None for another objective."""
    training, tokens = context.planned.cell.training, context.tokens
    if training.objective is None:
        return None
    from byheart.lm.preference_loss import preference_pairs

    return preference_pairs(
        model,
        tokens["train"],
        tokens["train_rejected"],
        beta=training.beta,
        budget=context.machine.token_budget,
        precision=training_dtype(context.planned, context.store, context.machine, model),
    )


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
    pairs: PreferencePairs | None,
) -> None:
    planned, store, settings = context.planned, context.store, context.planned.cell.training
    check_declared_privacy(planned, tuned)
    first = min(observations_by_epoch, default=settings.epochs)
    start = latest_state(planned, store, until=first)
    done, log = _begin_or_resume(context, start)
    precision = training_dtype(planned, context.store, context.machine, model)
    precision_name = str(precision).removeprefix("torch.")
    epochs = training_epochs(context, model, tuned, pairs, precision=precision, resume_from=start)
    start_time = time.monotonic()
    for epoch in epochs:
        number, observations = epoch.number, observations_by_epoch.get(epoch.number, ())
        if number > done:  # a resumed epoch is trained and stored
            log.add(number, epoch.loss, time.monotonic() - start_time)
            # Before the observations, which may take longer than the epoch.
            if number < settings.epochs or observations:
                _save_state(context, epoch, log, precision_name)
            text = f"epoch {number:g} trained, loss {epoch.loss:.3f}"
            context.on_event(Event("step", planned.label, text, (number - done) * epoch_work(planned)))
        make_evidence(observations, StoreProvider(context, ModelState(number), model))
        done, start_time = number, time.monotonic()
    if not planned.is_trial:  # a trial's perplexity is stored, and nothing reads its weights
        _store_training(context, model, tuned, log, precision_name)
    processes_of(context.machine).agree(partial(drop_states, planned, store))


def training_epochs(
    context: CellContext,
    model: LanguageModel,
    tuned: TrainableModel,
    pairs: PreferencePairs | None,
    *,
    precision: torch.dtype,
    resume_from: tuple[float, dict[str, torch.Tensor]] | None = None,
) -> Iterator[Epoch]:
    """Train the cell's model, and yield after each epoch and each observed state inside an epoch."""
    from byheart.lm import train

    planned, settings = context.planned, context.planned.cell.training
    return train.train(
        model,
        context.tokens["train"],
        training=settings,
        learning_rate=settings.learning_rate or tuned.learning_rate,
        key=planned.key,
        precision=precision,
        budget=context.machine.token_budget,
        inside_epochs=planned.inside_epochs,
        resume_from=resume_from,
        dp_parameters=planned.spending,
        pairs=pairs,
    )


def _save_state(context: CellContext, epoch: Epoch, log: _TrainingLog, precision: str) -> None:
    """Store the state of an epoch; sharded weights are gathered, so that any number of processes can resume."""
    processes = processes_of(context.machine)
    if processes.size > 1:
        gathered = epoch.state()
        epoch = dataclasses.replace(epoch, state=lambda: gathered)
    save = partial(save_state, context.planned, context.store, epoch, log._asdict(), precision=precision)
    processes.agree(save)


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


def _store_training(
    context: CellContext, model: LanguageModel, tuned: TrainableModel, log: _TrainingLog, precision: str
) -> None:
    """Store the trained weights and the facts that rows report."""
    planned = context.planned
    facts = {**training_facts(context, model, tuned), "precision": precision, **log._asdict()}
    processes, is_kept = processes_of(context.machine), not planned.shadow_label
    gathered = gathered_weights(model.module) if is_kept and processes.size > 1 else None

    def make(folder: Path) -> None:
        if is_kept:  # weights of the many shadow models are not needed: their evidence is stored
            write_weights(folder, model if gathered is None else whole_model(planned, gathered))
        (folder / "facts.json").write_text(json.dumps(facts))

    processes.agree(partial(context.store.get_or_make, "training", planned.key, planned.recipe, make))
