"""Reference models: the base model, fine-tuned like a cell's target until an observed state, on texts that the target generated.

The texts exist only while the target is observed, so a reference model is trained then, beside the target, and released with it. Its
evidence is stored, its weights are not.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.config import Machine
from byheart.core.dependencies import TOKEN_INPUTS, forward_pass_count, observation_name
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import PromptedTexts
from byheart.core.registry import Choice
from byheart.core.types import NO_TEXTS, Texts
from byheart.store.store import Store
from byheart.study.cell_models import base_model, tuned_model
from byheart.study.observed_states import BASE, ModelState
from byheart.study.planned_cell import PlannedCell, training_parts
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.training_format import training_dtype

if TYPE_CHECKING:
    from byheart.lm.forward import ReferenceTrainer, Scorer
    from byheart.lm.tokens import Tokens


@functools.lru_cache(maxsize=256)
def reference_cell(planned: PlannedCell) -> PlannedCell | None:
    """Return the cell that trains a cell's reference models; None if no observation requests a reference model.

    Its training texts stand for the generated ones, which do not exist yet: the known texts that the target continues, as often
    as it continues each. Raises `SettingError` for preference tuning, and `DataError` without generated texts.
    """
    observation = next(filter(needs_reference, planned.observations), None)
    if observation is None:
        return None
    if planned.cell.training.objective is not None:
        raise SettingError(
            f"observations {observation_name(observation)}: a reference model is trained on single texts, and training.objective = "
            f"{planned.cell.training.objective!r} requires pairs. Remove the attack that requests it."
        )
    generated = next(
        (o for o in planned.observations if observation_name(o) in observation.needs and _is_generated(o)), None
    )
    if generated is None:
        raise DataError(
            f"observations {observation_name(observation)}: requests reference_trainer without texts to train on. Request an "
            "observation that returns PromptedTexts, such as self_prompted_texts."
        )
    prompts = planned.texts[next(part for name, part in TOKEN_INPUTS.items() if name in generated.needs)]
    copies = round(forward_pass_count(generated, planned.observations))
    return dataclasses.replace(
        planned,
        attacks=(),
        metrics=(),
        observations=(),
        texts={**planned.texts, **training_parts(_repeated(prompts, copies), planned.cell.training)},
        shadow_label="reference model",
    )


def needs_reference(observation: Choice) -> bool:
    """Whether an observation reads a reference model."""
    return "reference_trainer" in observation.needs


def _is_generated(observation: Choice) -> bool:
    return observation.return_type == PromptedTexts.__name__


def _repeated(texts: Texts, copies: int) -> Texts:
    """Return the texts several times, with ids of their own."""
    numbered = (dataclasses.replace(texts, ids=tuple(f"{name}/{copy}" for name in texts.ids)) for copy in range(copies))
    return functools.reduce(Texts.joined, numbered)


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
    from byheart.study.remaining_work import epoch_work

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
