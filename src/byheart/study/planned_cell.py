"""A cell with its texts: identities, keys, and the work that is left. No model is loaded.

A result's key covers exactly what can change it: a checkpoint's the base, the training texts and how they are
trained on; an observation's the inputs that its signature names; a score's the attack and its evidence.
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
from byheart.core.types import Split, Texts
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
"""What a metric may ask for, besides any observation by its name: scores, labels, evidence by who is a member."""


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell with its texts, and from these the keys of everything that will be made for it.

    `texts` are those that its models read, by the part they play: `split.parts`, but for a shadow's training texts.
    `observations` are what attacks and metrics ask for, each after those that it asks for itself.
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
        """A line that tells this cell, or this shadow of it, from the others of a study."""
        return " · ".join(x for x in (self.cell.label, self.shadow_label) if x)

    @cached_property
    def base_identity(self) -> str:
        """What tells the base model from any other, its chat template too where it writes chats."""
        spoken = chat_template_hash(self.cell.base) if self.has_chats else ""
        return identity(self.cell.base) + spoken

    @property
    def has_chats(self) -> bool:
        """Whether any text is an answer in a chat."""
        return any(any(texts.chats) for texts in self.texts.values())

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything that can change the trained weights, defaults spelled out."""
        return {
            "base": self.base_identity,
            "texts": self.texts["train"].digest,
            "max_tokens": self.cell.data.max_tokens,
            "method": self.cell.method.recipe,
            "training": dataclasses.asdict(self.cell.training),
            "seed": self.cell.seed,
            "revision": lm.TRAIN_REVISION,
            # Dealt the very texts of the target, a shadow would be the target but for this.
            **({"shadow": True} if self.shadow_label else {}),
        }

    @cached_property
    def key(self) -> str:
        """The checkpoint's key: its recipe without the settings that are defaults."""
        given = {n: v for n, v in self.recipe["training"].items() if v != _default(Training, n)}
        return key_of({**self.recipe, "method": self.cell.method.identity, "training": given})

    @property
    def epochs(self) -> range:
        """Every epoch that is observed; 0 is the untuned base."""
        return range(self.cell.training.epochs + 1)

    @cached_property
    def spending(self) -> DpSgdParameters | None:
        """What private training spends; None where it is not private. Raises `SettingError` for a promise that means nothing."""
        privacy = privacy_settings(self.cell.method)
        return dp_sgd_parameters(privacy, len(self.texts["train"]), self.cell.training) if privacy else None

    def tokens_recipe(self, what: str) -> dict[str, Any]:
        """Return what tells these tokens from any other: those of the "train", "audited", ... texts."""
        return {"base": self.base_identity, "texts": self.texts[what].digest, "max_tokens": self.cell.data.max_tokens}

    def observation(self, name: str) -> Choice:
        """Return the observation that attacks ask for by this name."""
        return next(o for o in self.observations if observation_name(o) == name)


def _default(kind: type[Any], name: str) -> Any:
    return next(f.default for f in dataclasses.fields(kind) if f.name == name)
