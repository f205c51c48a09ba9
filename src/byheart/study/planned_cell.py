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

import numpy as np

from byheart import lm
from byheart.core.attack_output import RESULTS
from byheart.core.config import Scoring, Training
from byheart.core.dependencies import ATTRIBUTES, TOKENS, called, chain, passes_of
from byheart.core.errors import DataError
from byheart.core.registry import Choice, choose, constant, key_of
from byheart.core.types import Split, Texts, digest
from byheart.data.deduplication import trained_on
from byheart.lm.base_models import identity, template
from byheart.stats.dp_accounting import Spending, promised, spending
from byheart.store.store import Store
from byheart.study.study_file import Cell

LABELS = (*RESULTS, "membership", "groups", "member_groups", "nonmember_groups", "validation_groups", "planted")
LABELLED = (*LABELS, "train", "nonmember", "validation")
"""What a metric may ask for, besides any observation by its name: scores, labels, evidence by who is a member."""


@dataclass(frozen=True)
class Planned:
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
    shadow: str = ""

    @property
    def label(self) -> str:
        """A line that tells this cell, or this shadow of it, from the others of a study."""
        return " · ".join(x for x in (self.cell.label, self.shadow) if x)

    @cached_property
    def base(self) -> str:
        """What tells the base model from any other, its chat template too where it writes chats."""
        spoken = template(self.cell.base) if self.chats else ""
        return identity(self.cell.base) + spoken

    @property
    def chats(self) -> bool:
        """Whether any text is an answer in a chat."""
        return any(any(texts.chats) for texts in self.texts.values())

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything that can change the trained weights, defaults spelled out."""
        return {
            "base": self.base,
            "texts": self.texts["train"].digest,
            "max_tokens": self.cell.data.max_tokens,
            "method": self.cell.method.recipe,
            "training": dataclasses.asdict(self.cell.training),
            "seed": self.cell.seed,
            "revision": lm.TRAIN_REVISION,
            # Dealt the very texts of the target, a shadow would be the target but for this.
            **({"shadow": True} if self.shadow else {}),
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
    def spending(self) -> Spending | None:
        """What private training spends; None where it is not private. Raises `SettingError` for a promise that means nothing."""
        privacy = promised(self.cell.method)
        return spending(privacy, len(self.texts["train"]), self.cell.training) if privacy else None

    def tokens_recipe(self, what: str) -> dict[str, Any]:
        """Return what tells these tokens from any other: those of the "train", "audited", ... texts."""
        return {"base": self.base, "texts": self.texts[what].digest, "max_tokens": self.cell.data.max_tokens}

    def evidence_recipe(self, observation: Choice, epoch: int) -> dict[str, Any]:
        """Return an observation's identity, which covers only the inputs that its signature names."""
        same = constant(observation.function, "UNTUNED", None)
        if epoch == 0 and same is not None:
            # The untuned base is what the reference attack reads anyway: one pass serves both.
            observation = next((o for o in self.observations if called(o) == same), choose("observations", same))
        return {
            "observation": observation.recipe,
            "inputs": {n: self._input(n, epoch) for n in observation.needs},
            "precision": self.scoring.precision,
            "revision": lm.FORWARD_REVISION,
        }

    def _input(self, name: str, epoch: int) -> Any:
        """Return the identity of what an observation asks for by this name."""
        if name == "model":
            return {"base": self.base} if epoch == 0 else {"cell": self.key, "epoch": epoch}
        if name == "base_model":
            return {"base": self.base}
        if name in TOKENS:
            return self.tokens_recipe(TOKENS[name])
        if name in ATTRIBUTES:
            texts = enumerate(getattr(self.split, name))
            return digest((str(i), *item) for i, own in texts for item in sorted(own.items()))
        if name == "shadow_passes":
            # The texts too: at epoch 0 all shadows are the base, and evidence would not tell who is tuned on what.
            return [
                [s.texts["train"].digest, *(s.evidence_key(o, epoch) for o in s.observations)] for s in self.shadows
            ]
        return self.evidence_key(self.observation(name), epoch)

    def observation(self, name: str) -> Choice:
        """Return the observation that attacks ask for by this name."""
        return next(o for o in self.observations if called(o) == name)

    @cached_property
    def shadows(self) -> tuple[Planned, ...]:
        """Models tuned as this cell's, each on a half of the audited texts; none where no attack needs them.

        They come in pairs, the second of a pair tuned on the half that the first is not, so that each text is in half of
        them. Whole groups are dealt: a text's group may give it away. What the target is tuned on besides, all are too.
        """
        asking = next((o for o in self.observations if "shadow_passes" in o.needs), None)
        if asking is None:
            return ()
        observed = [choose("observations", "target")]
        if len(self.texts["known_nonmembers"]):
            observed.append(choose("observations", "known_nonmembers"))
        number = asking.settings["models"]
        known = asking.settings.get("rest", True)
        members = set(self.split.members)
        whole = self.split.parts["train"]  # canaries too, and what deduplication leaves out
        rest = whole.take(i for i in range(len(whole)) if known and i not in members)
        trained = [
            self.texts["audited"].take(np.flatnonzero(inside).tolist()).joined(rest) for inside in self.halves(number)
        ]
        return tuple(
            dataclasses.replace(
                self,
                attacks=(),
                metrics=(),
                observations=tuple(observed),
                texts={**self.texts, "train": trained_on(texts, self.cell.training)},
                shadow=f"shadow {i + 1} of {number}",
            )
            for i, texts in enumerate(trained)
        )

    def halves(self, number: int) -> list[np.ndarray]:
        """Return which of the audited texts each shadow is tuned on, no two on the same.

        Raises `DataError` where there are too few groups for so many halves.
        """
        groups = np.array(self.split.groups)
        names = np.unique(groups)
        seed = key_of({"texts": self.texts["audited"].digest, "seed": self.cell.seed})
        chance = np.random.default_rng(int(seed, 16))
        halves: dict[bytes, np.ndarray] = {}
        for _ in range(100 * number):
            if len(halves) == number:
                return list(halves.values())
            first = np.isin(groups, chance.permutation(names)[: len(names) // 2])
            halves |= {half.tobytes(): half for half in (first, ~first) if half.tobytes() not in halves}
        raise DataError(
            f"{number} shadows need as many different halves of the audited texts, which are of {len(names)} groups only; "
            "write fewer models for observations shadows, or name data of more groups"
        )

    def evidence_key(self, observation: Choice, epoch: int) -> str:
        """Return the key of an observation at an epoch: its recipe without the settings that are defaults."""
        recipe = self.evidence_recipe(observation, epoch)
        named = {n: v for n, v in recipe["observation"].items() if n != "settings"}
        return key_of({**recipe, "observation": {**named, "settings": observation.changed}})

    def missing(self, store: Store | None) -> dict[int, tuple[Choice, ...]]:
        """Return, by epoch, the observations that the store does not hold yet, each at the first epoch that needs it.

        None stands for a store that holds nothing, here and below.
        """
        left: dict[int, tuple[Choice, ...]] = {}
        first: dict[str, tuple[int, Choice]] = {}
        for epoch in self.epochs:
            for observation in self.observations:
                first.setdefault(self.evidence_key(observation, epoch), (epoch, observation))
        for key, (epoch, observation) in first.items():
            if store is None or not store.has("evidence", key):
                left[epoch] = (*left.get(epoch, ()), observation)
        return left

    def left(self, store: Store | None, known: set[str]) -> dict[int, tuple[Choice, ...]]:
        """Return what is missing, by epoch, without what is known to be made before; adds this cell's to `known`."""
        left = {
            e: tuple(o for o in wanted if self.evidence_key(o, e) not in known)
            for e, wanted in self.missing(store).items()
        }
        known |= {self.evidence_key(o, e) for e, wanted in left.items() for o in wanted}
        return left

    def work(self, store: Store | None, known: set[str]) -> float:
        """Return what is left to do, in forward passes of one token.

        `known` are keys of evidence that a cell before this one makes; this cell's are added.
        """
        return sum(
            one.epoch_work * epochs + sum(map(one.observation_work, made))
            for one, epochs, made in self.todo(store, known)
        )

    def todo(self, store: Store | None, known: set[str]) -> list[tuple[Planned, int, tuple[Choice, ...]]]:
        """Return what is left to do, this cell's first, then its shadows': epochs to train, and observations to make.

        `known` are keys of evidence that a cell before this one makes; this cell's are added.
        """
        left = self.left(store, known)
        made = tuple(o for wanted in left.values() for o in wanted)
        trained = max((e for e in left if e > 0), default=0)
        if store is None or not store.has("training", self.key):
            trained = self.cell.training.epochs
        shadowed = any("shadow_passes" in o.needs for o in made)
        return [(self, trained, made), *(t for s in self.shadows if shadowed for t in s.todo(store, known))]

    @property
    def epoch_work(self) -> float:
        """Training of one epoch, in forward passes of one token; a method's file says how many passes a token costs."""
        return constant(self.cell.method.function, "PASSES", 3.0) * self._sizes["train"]

    def evidence_of(self, attack: Choice) -> list[Choice]:
        """Return the observations that an attack rests on, and those that they rest on in turn, each once."""
        return chain(attack.needs, f"attacks {attack.name}", {called(o): o for o in self.observations})

    @cached_property
    def measured(self) -> tuple[Choice, ...]:
        """The observations that metrics ask for by name, and those that they rest on in turn, each once."""
        asked = dict.fromkeys(n for m in self.metrics for n in m.needs if n not in LABELLED)
        return tuple(chain(asked, "a metric", {called(o): o for o in self.observations}))

    def cost(self, attack: Choice, epoch: int) -> float:
        """Return what an attack at an epoch rests on, in forward passes over the audited texts, shadows' training included."""
        evidence = self.evidence_of(attack)
        work = sum(self.observation_work(o) for o in evidence)
        if any("shadow_passes" in o.needs for o in evidence):
            for shadow in self.shadows:
                work += epoch * shadow.epoch_work + sum(shadow.observation_work(o) for o in shadow.observations)
        return work / self._sizes["audited"]

    @cached_property
    def _sizes(self) -> dict[str, float]:
        """About how many tokens each part's texts have: one for four characters, no more a text than are read."""
        most = self.cell.data.max_tokens
        return {
            part: sum(min((len(s) + len(p)) / 4, most) for s, p in zip(texts.scored, texts.prompts, strict=True))
            for part, texts in self.texts.items()
        }

    def observation_work(self, observation: Choice) -> float:
        """Return one observation's work, in forward passes of one token."""
        part = next((p for n, p in TOKENS.items() if n in observation.needs), "audited")
        attributes = sum(map(len, self.split.attributes)) / max(len(self.split.attributes), 1)
        return passes_of(observation, self.observations, attributes=attributes) * self._sizes[part]

    def passes(self, observation: Choice) -> float:
        """Return one observation's work, in forward passes over the audited texts."""
        return self.observation_work(observation) / self._sizes["audited"]


def _default(kind: type[Any], name: str) -> Any:
    return next(f.default for f in dataclasses.fields(kind) if f.name == name)
