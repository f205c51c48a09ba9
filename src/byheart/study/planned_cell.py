"""A cell with its texts, identities and keys. Loads no model.

A result's key covers exactly what can change the result. The key of the trained weights covers the base model, the training
texts and the training settings. The key of an observation covers the inputs that its signature names. The key of a score
covers the attack and its evidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from byheart import lm
from byheart.core.attack_output import ATTACK_OUTPUT_NAMES
from byheart.core.config import Scoring, Training
from byheart.core.dependencies import observation_name
from byheart.core.registry import Choice, key_of, module_constant
from byheart.core.split import Split
from byheart.core.types import Texts
from byheart.lm.base_models import chat_template_hash, identity
from byheart.stats.dp_accounting import DpSgdParameters, dp_sgd_parameters, privacy_settings
from byheart.study.cell import Cell
from byheart.study.observed_states import BASE, INITIALIZED, ModelState, epochs_by_step, steps_per_epoch
from byheart.study.searched_rates import TriedRate

METRIC_CONTEXT = (
    *ATTACK_OUTPUT_NAMES,
    "membership",
    "groups",
    "member_groups",
    "nonmember_groups",
    "validation_groups",
    "training_texts",
    "planted",
    "trained_parameters",
)
METRIC_INPUTS = (*METRIC_CONTEXT, "train", "nonmember", "validation")
"""Inputs of metrics besides observations: scores, labels, and the evidence of members and of non-members."""


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell with its texts, attacks, metrics and observations, and the recipe and key of its trained weights.

    `texts` are the texts by part: `split.parts`, except for the training texts of a shadow model. `observations` are
    the observations that attacks and metrics require, each after its own requirements. `tried` are the rates of a finished
    search of the learning rate. A trial of a search is only observed after its last epoch.
    """

    cell: Cell
    split: Split
    attacks: tuple[Choice, ...]
    metrics: tuple[Choice, ...]
    scoring: Scoring
    observations: tuple[Choice, ...]
    texts: Mapping[str, Texts]
    shadow_label: str = ""
    tried: tuple[TriedRate, ...] = ()
    is_trial: bool = False

    @property
    def label(self) -> str:
        """Name of this cell, shadow model or trial that is unique in the study."""
        trial = f"trial of learning rate {self.cell.method.settings['learning_rate']:g}" if self.is_trial else ""
        return " · ".join(x for x in (self.cell.label, self.shadow_label, trial) if x)

    @cached_property
    def base_identity(self) -> str:
        """Identity of the base model; for chats it includes the chat template."""
        template = chat_template_hash(self.cell.base) if self.has_chats else ""
        return identity(self.cell.base) + template

    @property
    def base_recipe(self) -> dict[str, Any]:
        """Identity of the base model, and its number format unless that is float32."""
        base_format = self.cell.base_format.non_default
        return {"base": self.base_identity, **({"base_format": base_format} if base_format else {})}

    @property
    def has_chats(self) -> bool:
        """Whether any text is an assistant message of a chat."""
        return any(any(texts.chats) for texts in self.texts.values())

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything that can change the trained weights, including defaults."""
        return {
            **self.base_recipe,
            "texts": self.texts["train"].digest,
            "max_tokens": self.cell.data.max_tokens,
            "method": self.cell.method.recipe,
            # Observed epochs do not change the weights.
            "training": {n: v for n, v in dataclasses.asdict(self.cell.training).items() if n != "observe"},
            "seed": self.cell.seed,
            "revision": lm.TRAIN_REVISION,
            # Distinguishes a shadow model that is trained on exactly the target's texts.
            **({"shadow": True} if self.shadow_label else {}),
            **self._token_settings("train"),
        }

    @cached_property
    def key(self) -> str:
        """Key of the trained weights: the hash of their recipe without default settings."""
        non_default = {n: v for n, v in self.recipe["training"].items() if v != _default(Training, n)}
        return key_of({**self.recipe, "method": self.cell.method.identity, "training": non_default})

    @property
    def epochs(self) -> range:
        """Every whole epoch; 0 is the base model."""
        return range(self.cell.training.epochs + 1)

    @cached_property
    def epochs_by_step(self) -> dict[int, float]:
        """The observed epochs by their number of optimizer steps."""
        return epochs_by_step(self.cell.training, len(self.texts["train"]))

    @cached_property
    def states(self) -> tuple[ModelState, ...]:
        """Every observed state in order, from the base model; of a trial, the last."""
        if self.is_trial:
            return (ModelState(self.cell.training.epochs),)
        starts_at_base = module_constant(self.cell.method.function, "STARTS_AT_BASE", default=True)
        initialized = () if starts_at_base else (INITIALIZED,)
        return (BASE, *initialized, *(ModelState(epoch) for epoch in self.epochs_by_step.values()))

    def states_until(self, state: ModelState) -> tuple[ModelState, ...]:
        """Return the observed states of the training that leads to a state: the base model, epochs before it, the state."""
        return tuple(s for s in self.states if s in {BASE, state} or 0 < s.epoch < state.epoch)

    @property
    def inside_epochs(self) -> dict[int, float]:
        """The observed fractions of epochs by their number of optimizer steps."""
        steps = steps_per_epoch(self.cell.training, len(self.texts["train"]))
        return {step: epoch for step, epoch in self.epochs_by_step.items() if step % steps}

    def same_state(self, target: ModelState) -> ModelState:
        """Return this shadow model's observed state for a state of its target, whose epochs may have other steps."""
        step = target.epoch * steps_per_epoch(self.cell.training, len(self.texts["train"]))
        nearest = min(self.epochs_by_step, key=lambda s: abs(s - step))
        return ModelState(self.epochs_by_step[nearest]) if target.epoch else target

    @cached_property
    def spending(self) -> DpSgdParameters | None:
        """Privacy parameters of private training, else None. Raises `SettingError` for a meaningless privacy target."""
        privacy = privacy_settings(self.cell.method)
        return dp_sgd_parameters(privacy, len(self.texts["train"]), self.cell.training) if privacy else None

    def tokens_recipe(self, part: str) -> dict[str, Any]:
        """Return the recipe of the tokens of one part: "train", "audited", ..."""
        return {
            "base": self.base_identity,
            "texts": self.texts[part].digest,
            "max_tokens": self.cell.data.max_tokens,
            **self._token_settings(part),
        }

    def _token_settings(self, part: str) -> dict[str, Any]:
        """The settings of a recipe that change a part's tokens, so that the keys of other tokens are those of older stores."""
        data = self.cell.data
        is_joined = data.tokenization == "joined" and any(self.texts[part].prompts)
        return {**({"end_token": True} if data.end_token else {}), **({"tokenization": "joined"} if is_joined else {})}

    def observation(self, name: str) -> Choice:
        """Return the observation that attacks request by this name."""
        return next(o for o in self.observations if observation_name(o) == name)


def training_parts(train: Texts, training: Training) -> dict[str, Texts]:
    """Return the training texts by part: with the objective dpo also the rejected responses."""
    rejected = {} if training.objective is None else {"train_rejected": train.rejected_texts}
    return {"train": train, **rejected}


def _default(kind: type[Any], name: str) -> Any:
    return next(f.default for f in dataclasses.fields(kind) if f.name == name)
