"""Train a reference model: the base model, tuned like a cell's target until an observed state, on texts that the target generated.

The texts exist only while the target is observed, so a reference model is trained then, beside the target, and released with it. Its
evidence is stored, its weights are not.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.config import Machine
from byheart.core.evidence import PromptedTexts
from byheart.core.types import NO_TEXTS
from byheart.store.store import Store
from byheart.study.cell_models import base_model, tuned_model
from byheart.study.observed_states import BASE, ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.reference_models import reference_cell
from byheart.study.remaining_work import epoch_work
from byheart.study.training_format import training_dtype

if TYPE_CHECKING:
    from byheart.lm.forward import ReferenceTrainer, Scorer
    from byheart.lm.tokens import Tokens


def reference_trainer(
    planned: PlannedCell, state: ModelState, store: Store, machine: Machine, base: Scorer, on_event: ProgressCallback
) -> ReferenceTrainer:
    """Return the function that trains the reference model of a state; it trains once for the same texts.

    `base` has the budget and precision of scoring; at the base state it is the base model itself, which is its own reference.
    """
    trained: dict[str, Scorer] = {}

    def train_once(texts: PromptedTexts) -> Scorer:
        tokens = _training_tokens(texts)
        if tokens.digest not in trained:
            trained.clear()  # one reference model in memory at a time
            trained[tokens.digest] = _train(planned, state, tokens, store, machine, base, on_event)
        return trained[tokens.digest]

    return (lambda _: base) if state == BASE else train_once


def _training_tokens(texts: PromptedTexts) -> Tokens:
    from byheart.lm.tokens import Tokens

    none_cut = np.zeros(len(texts.first), dtype=np.int64)
    return Tokens(ids=texts.ids, starts=texts.starts, first=texts.first, cut=none_cut, texts=NO_TEXTS)


def _train(
    planned: PlannedCell,
    state: ModelState,
    tokens: Tokens,
    store: Store,
    machine: Machine,
    scorer: Scorer,
    on_event: ProgressCallback,
) -> Scorer:
    """Train the base model on these tokens as the target was until this state, and return it with the scorer's precision."""
    from byheart.lm import train
    from byheart.lm.load import LanguageModel

    reference = reference_cell(planned)
    assert reference is not None, "no observation requests a reference model"  # noqa: S101 - for the type checker
    base, settings = base_model(planned, machine), planned.cell.training
    tuned = tuned_model(reference, machine, base)
    model = train.with_hidden_cache(LanguageModel(tuned.module, base.tokenizer, base.name))
    last = reference.same_state(state).epoch
    epochs = train.train(
        model,
        tokens,
        training=settings,
        learning_rate=settings.learning_rate or tuned.learning_rate,
        key=reference.key,
        precision=training_dtype(planned, store, machine, model),
        budget=machine.token_budget,
        inside_epochs=reference.inside_epochs,
        dp_parameters=reference.spending,
    )
    done = 0.0
    for epoch in epochs if last else ():
        text = f"{state.label}: reference model trained for {epoch.number:g} epochs, loss {epoch.loss:.3f}"
        on_event(Event("step", planned.label, text, (epoch.number - done) * epoch_work(reference)))
        done = epoch.number
        if done >= last:
            break
    tuned.module.eval()
    return dataclasses.replace(scorer, model=model)
