"""Train and observe a cell: every step that needs a model, epoch by epoch, resuming from the last stored state.

An observation may request other observations and the inputs of `_StoreProvider.argument` as positional parameters. That
list is closed: a new kind of input is a new entry there, and in `evidence_keys` for its identity.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from byheart.core.config import Machine
from byheart.core.dependencies import ATTRIBUTE_INPUTS, TOKEN_INPUTS
from byheart.core.errors import DataError
from byheart.core.evidence import EVIDENCE_TYPES, evidence_to_arrays
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice
from byheart.stats.dp_accounting import privacy_settings
from byheart.store.store import Store, write_arrays
from byheart.study.cell_tokens import check_tokens, stored_tokens
from byheart.study.checkpoints import drop_states, latest_state, save_state, training_precision, write_weights
from byheart.study.evidence_keys import evidence_key, evidence_recipe
from byheart.study.observed_states import BASE, INITIALIZED, ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.remaining_work import epoch_work, observation_work
from byheart.study.stored_evidence import read_evidence, read_shadow_passes

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel, TrainableModel
    from byheart.lm.tokens import Tokens


class Event(NamedTuple):
    """A progress event: its kind, the cell, a text, and the finished work (forward passes of one token).

    The work of a "begin" event was done by an earlier run.
    """

    kind: Literal["begin", "step"]
    cell: str
    text: str
    work: float = 0.0


ProgressCallback = Callable[[Event], None]


@dataclass(frozen=True)
class _CellContext:
    """Shared values of a cell's training and observations."""

    planned: PlannedCell
    store: Store
    machine: Machine
    on_event: ProgressCallback
    tokens: Mapping[str, Tokens]


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
    model = base_cache.borrow(planned.cell.base, device)
    tokens = {part: stored_tokens(planned, part, model, store) for part, texts in planned.texts.items() if len(texts)}
    check_tokens(planned, model, tokens)
    context = _CellContext(planned, store, machine, on_event, tokens)
    make_evidence(missing.get(BASE, ()), _StoreProvider(context, BASE, model))
    initialized = missing.get(INITIALIZED, ())
    trained = {state.epoch: observations for state, observations in missing.items() if state.epoch > 0}
    is_trained = not trained and store.has("training", planned.key)
    if base_only or (is_trained and not initialized):
        return
    train.seed_rngs(planned.key)
    tuned = planned.cell.method(model)
    tuned.module.to(device)
    base_cache.copy_shared_trainable_weights(tuned.module)
    tuned_model = train.with_hidden_cache(load.LanguageModel(tuned.module, model.tokenizer, model.name))
    if initialized:
        tuned.module.eval()
        make_evidence(initialized, _StoreProvider(context, INITIALIZED, tuned_model))
    if not is_trained:
        _train(context, trained, tuned_model, tuned)


def release_base_model() -> None:
    """Release the base model that this process caches between cells, if it loaded one."""
    base_cache = sys.modules.get("byheart.lm.base_cache")
    if base_cache is not None:
        base_cache.release()


def _train(
    context: _CellContext,
    observations_by_epoch: Mapping[float, tuple[Choice, ...]],
    model: LanguageModel,
    tuned: TrainableModel,
) -> None:
    from byheart.lm import train
    from byheart.lm.placement import device_of

    planned, store, settings = context.planned, context.store, context.planned.cell.training
    _check_declared_privacy(planned, tuned)
    rate = settings.learning_rate or tuned.learning_rate
    first = min(observations_by_epoch, default=settings.epochs)
    start = latest_state(planned, store, before=first)
    losses: list[float] = []
    seconds: list[float] = []
    done = 0.0
    if start is not None:
        done, state = start
        losses, seconds = ([float(x) for x in state.pop(n)] for n in ("losses", "seconds"))
        text = f"resuming after epoch {done:g}"
        context.on_event(Event("begin", planned.label, text, done * epoch_work(planned)))
    else:
        context.on_event(Event("begin", planned.label, f"training epoch 1 of {settings.epochs}"))
    # Resumed and repeated training has the number format of the stored one.
    stored_precision: Any = training_precision(planned, store) or context.machine.precision
    precision = train.training_dtype(stored_precision, device_of(model.module))
    precision_name = str(precision).removeprefix("torch.")
    epochs = train.train(
        model,
        context.tokens["train"],
        training=settings,
        learning_rate=rate,
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
        # The last items are of the current epoch until now.
        losses[math.ceil(number) - 1 :] = [epoch.loss]
        seconds.extend([0.0] * (math.ceil(number) - len(seconds)))
        seconds[-1] += time.monotonic() - start_time
        text = f"epoch {number:g} trained, loss {epoch.loss:.3f}"
        context.on_event(Event("step", planned.label, text, (number - done) * epoch_work(planned)))
        make_evidence(observations_by_epoch.get(number, ()), _StoreProvider(context, ModelState(number), model))
        if number < settings.epochs:
            save_state(planned, store, epoch, {"losses": losses, "seconds": seconds}, precision=precision_name)
        done, start_time = number, time.monotonic()
    if planned.is_trial:  # its perplexity is stored, and nothing reads its weights
        drop_states(planned, store)
        return
    facts = {
        "trained_parameters": sum(p.numel() for p in train.trainable_parameters(model.module).values()),
        "learning_rate": rate,
        "precision": precision_name,
        "losses": losses,
        "seconds": seconds,
        "truncated_texts": _truncated_text_count(context),
        **_privacy_facts(planned),
    }

    def make(folder: Path) -> None:
        if not planned.shadow_label:  # weights of the many shadow models are not needed: their evidence is stored
            write_weights(folder, model)
        (folder / "facts.json").write_text(json.dumps(facts))

    store.get_or_make("training", planned.key, planned.recipe, make)
    drop_states(planned, store)


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


def _truncated_text_count(context: _CellContext) -> int:
    """Return the number of truncated texts; members count once."""
    nonmembers = context.tokens["audited"].cut[len(context.planned.split.members) :]
    return sum(int((c > 0).sum()) for c in (context.tokens["train"].cut, nonmembers, context.tokens["validation"].cut))


@dataclass(frozen=True)
class _StoreProvider:
    """Provides the evidence of one state of the model through the store.

    `base_model` is the same object as `model`: base evidence is made at epoch 0, before the method changes the model.
    """

    context: _CellContext
    state: ModelState
    model: LanguageModel

    def argument(self, name: str) -> Any:
        """Return an input, or evidence from the store. The closed list: another input changes the architecture."""
        import torch

        from byheart.lm.forward import Scorer

        context = self.context
        if name in {"model", "base_model"}:
            return Scorer(self.model, context.machine.token_budget, getattr(torch, context.planned.scoring.precision))
        if name in TOKEN_INPUTS:
            return context.tokens[TOKEN_INPUTS[name]]
        if name in ATTRIBUTE_INPUTS:
            return getattr(context.planned.split, name)
        if name == "shadow_passes":
            return read_shadow_passes(context.planned, context.store, self.state)
        return read_evidence(context.planned, context.store, context.planned.observation(name), self.state)

    def provide(self, observation: Choice, compute: Callable[[], Any]) -> None:
        """Store the evidence unless another cell or run has stored it meanwhile."""
        planned, store = self.context.planned, self.context.store
        key = evidence_key(planned, observation, self.state)
        if store.has("evidence", key):
            return

        def make(folder: Path) -> None:
            evidence = compute()
            if observation.return_type not in EVIDENCE_TYPES or not isinstance(
                evidence, EVIDENCE_TYPES[observation.return_type]
            ):
                raise DataError(
                    f"observations {observation.name}: returned {type(evidence).__name__}, annotated as "
                    f"{observation.return_type or 'nothing'}. Return and annotate one of {', '.join(EVIDENCE_TYPES)}."
                )
            write_arrays(folder, evidence_to_arrays(evidence))

        store.get_or_make("evidence", key, evidence_recipe(planned, observation, self.state), make)
        done = observation_work(planned, observation)
        text = f"{self.state.label} observed: {observation.name}"
        self.context.on_event(Event("step", planned.label, text, done))
