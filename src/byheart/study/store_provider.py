"""Provide a cell's evidence through the store: read it, or compute and store it.

An observation may request other observations and the inputs of `StoreProvider.argument` as positional parameters. That
list is closed: a new kind of input is a new entry there, and in `evidence_keys` for its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.core.config import Machine
from byheart.core.dependencies import ATTRIBUTE_INPUTS, INITIAL_INPUTS, TOKEN_INPUTS
from byheart.core.errors import DataError
from byheart.core.evidence import EVIDENCE_TYPES, evidence_to_arrays
from byheart.core.registry import Choice
from byheart.store.result_files import write_arrays
from byheart.store.store import Store
from byheart.study.cell_models import base_model, processes_of
from byheart.study.evidence_keys import evidence_key, evidence_recipe
from byheart.study.observed_states import BASE, ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.reference_training import reference_trainer
from byheart.study.remaining_work import observation_work
from byheart.study.stored_evidence import read_evidence, read_shadow_passes

if TYPE_CHECKING:
    import torch

    from byheart.lm.contrastive import ReferenceModel
    from byheart.lm.forward import ReferenceTrainer, Scorer
    from byheart.lm.load import LanguageModel
    from byheart.lm.tokens import Tokens


@dataclass(frozen=True)
class CellContext:
    """Shared values of a cell's training and observations.

    `initial_weights` are the trained parameters before training, by name; empty if no observation requests them.
    """

    planned: PlannedCell
    store: Store
    machine: Machine
    on_event: ProgressCallback
    tokens: Mapping[str, Tokens]
    initial_weights: Mapping[str, torch.Tensor] = field(default_factory=dict[str, "torch.Tensor"])


@dataclass(frozen=True)
class StoreProvider:
    """Provides the evidence of one state of the model through the store.

    `base_model` is the same object as `model`: base evidence is made at epoch 0, before the method changes the model. Only
    `reference_model` is the base model beside the trained one; it shares the weights of the cached base model.
    """

    context: CellContext
    state: ModelState
    model: LanguageModel

    def argument(self, name: str) -> Any:
        """Return an input, or evidence from the store. The closed list: another input changes the architecture."""
        context = self.context
        if name in {"model", "base_model", "reference_model", "reference_trainer"}:
            return self._model_input(name)
        if name in INITIAL_INPUTS:
            return {} if self.state == BASE else context.initial_weights
        if name in TOKEN_INPUTS:
            return context.tokens[TOKEN_INPUTS[name]]
        if name in ATTRIBUTE_INPUTS:
            return getattr(context.planned.split, name)
        if name == "shadow_passes":
            return read_shadow_passes(context.planned, context.store, self.state)
        return read_evidence(context.planned, context.store, context.planned.observation(name), self.state)

    def _model_input(self, name: str) -> Scorer | ReferenceModel | ReferenceTrainer:
        if name == "reference_model":
            return self._reference_model()
        return self._reference_trainer if name == "reference_trainer" else self._scorer

    @cached_property
    def _scorer(self) -> Scorer:
        """The model with the study's token budget and precision of scoring."""
        import torch

        from byheart.lm.forward import Scorer

        precision = getattr(torch, self.context.planned.scoring.precision)
        return Scorer(self.model, self.context.machine.token_budget, precision)

    @cached_property
    def _reference_trainer(self) -> ReferenceTrainer:
        """Trains a reference model that this state's observations share."""
        context = self.context
        return reference_trainer(
            context.planned, self.state, context.store, context.machine, self._scorer, context.on_event
        )

    def _reference_model(self) -> ReferenceModel:
        """Return the base model beside the model; before training it is the model itself."""
        from byheart.lm.contrastive import ReferenceModel

        if self.state == BASE:
            return ReferenceModel(self.model)
        return ReferenceModel(base_model(self.context.planned, self.context.machine))

    def provide(self, observation: Choice, compute: Callable[[], Any]) -> None:
        """Store the evidence unless another cell or run has stored it meanwhile."""
        planned, store = self.context.planned, self.context.store
        key = evidence_key(planned, observation, self.state)
        processes = processes_of(self.context.machine)
        if processes.agree(partial(store.has, "evidence", key)):
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

        recipe = evidence_recipe(planned, observation, self.state)
        processes.agree(partial(store.get_or_make, "evidence", key, recipe, make), compute)
        done = observation_work(planned, observation)
        text = f"{self.state.label} observed: {observation.name}"
        self.context.on_event(Event("step", planned.label, text, done))
