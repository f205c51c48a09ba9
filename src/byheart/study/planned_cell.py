"""A cell with its texts, identities and keys. Loads no model.

A result's key covers exactly what can change it. A checkpoint's key covers the base model, the training texts and the
training settings; an observation's key the inputs that its signature names; a score's key the attack and its evidence.
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
from byheart.core.registry import Choice, key_of
from byheart.core.split import Split
from byheart.core.types import Texts
from byheart.lm.base_models import chat_template_hash, identity
from byheart.stats.dp_accounting import DpSgdParameters, dp_sgd_parameters, privacy_settings
from byheart.study.study_file import Cell

METRIC_LABELS = (
    *ATTACK_OUTPUT_NAMES,
    "membership",
    "groups",
    "member_groups",
    "nonmember_groups",
    "validation_groups",
    "planted",
)
METRIC_INPUTS = (*METRIC_LABELS, "train", "nonmember", "validation")
"""Inputs of metrics besides observations: scores, labels, and the evidence of members and of non-members."""


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell with its texts, and the keys of all its results.

    `texts` are the texts by part: `split.parts`, except for the training texts of a shadow model. `observations` are
    the observations that attacks and metrics require, each after its own requirements.
    """

    cell: Cell
    split: Split
    attacks: tuple[Choice, ...]
    metrics: tuple[Choice, ...]
    scoring: Scoring
    observations: tuple[Choice, ...]
    texts: Mapping[str, Texts]
    shadow_label: str = ""

    @property
    def label(self) -> str:
        """Name of this cell, or of this shadow model, that is unique in the study."""
        return " · ".join(x for x in (self.cell.label, self.shadow_label) if x)

    @cached_property
    def base_identity(self) -> str:
        """Identity of the base model; for chats it includes the chat template."""
        template = chat_template_hash(self.cell.base) if self.has_chats else ""
        return identity(self.cell.base) + template

    @property
    def has_chats(self) -> bool:
        """Whether any text is an assistant message of a chat."""
        return any(any(texts.chats) for texts in self.texts.values())

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything that can change the trained weights, including defaults."""
        return {
            "base": self.base_identity,
            "texts": self.texts["train"].digest,
            "max_tokens": self.cell.data.max_tokens,
            "method": self.cell.method.recipe,
            "training": dataclasses.asdict(self.cell.training),
            "seed": self.cell.seed,
            "revision": lm.TRAIN_REVISION,
            # Distinguishes a shadow model that is trained on exactly the target's texts.
            **({"shadow": True} if self.shadow_label else {}),
        }

    @cached_property
    def key(self) -> str:
        """The checkpoint's key: its recipe without default settings."""
        non_default = {n: v for n, v in self.recipe["training"].items() if v != _default(Training, n)}
        return key_of({**self.recipe, "method": self.cell.method.identity, "training": non_default})

    @property
    def epochs(self) -> range:
        """Every observed epoch; 0 is the base model."""
        return range(self.cell.training.epochs + 1)

    @cached_property
    def spending(self) -> DpSgdParameters | None:
        """Privacy parameters of private training, else None. Raises `SettingError` for a meaningless privacy target."""
        privacy = privacy_settings(self.cell.method)
        return dp_sgd_parameters(privacy, len(self.texts["train"]), self.cell.training) if privacy else None

    def tokens_recipe(self, part: str) -> dict[str, Any]:
        """Return the recipe of the tokens of one part: "train", "audited", ..."""
        return {"base": self.base_identity, "texts": self.texts[part].digest, "max_tokens": self.cell.data.max_tokens}

    def observation(self, name: str) -> Choice:
        """Return the observation that attacks request by this name."""
        return next(o for o in self.observations if observation_name(o) == name)


def _default(kind: type[Any], name: str) -> Any:
    return next(f.default for f in dataclasses.fields(kind) if f.name == name)
