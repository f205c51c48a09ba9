"""Examples of a data set, and their split: who is trained on, audited, known, or held out for validation."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from byheart.core.errors import DataError
from byheart.core.types import NO_TEXTS, Texts

Role = Literal["train", "nonmember", "validation", "pool"]
"""Published role of a text in its data set; `pool` if the data set publishes no split."""


@dataclass(frozen=True)
class Examples:
    """Records of a data set: texts, each with its published role, group and private attributes.

    `groups` names what belongs together (an article, a triple set, a user); a split never divides a group. `attributes` has,
    per text, the named private values that occur verbatim in its scored string or in its prompt (empty if it has none).
    """

    texts: Texts
    roles: tuple[Role, ...]
    groups: tuple[str, ...]
    attributes: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Raise `DataError` for columns of unequal length, and for attributes that do not occur in their texts."""
        if not self.attributes:
            object.__setattr__(self, "attributes", ({},) * len(self.texts))
        if not len(self.texts) == len(self.roles) == len(self.groups) == len(self.attributes):
            raise DataError(
                f"examples: columns differ in length ({len(self.texts)} texts, {len(self.roles)} roles, "
                f"{len(self.groups)} groups, {len(self.attributes)} attributes). Provide one of each per text."
            )
        columns = (self.texts.ids, self.texts.prompts, self.texts.scored, self.attributes)
        for name, prompt, text, attributes in zip(*columns, strict=True):
            for kind, value in attributes.items():
                if not value.strip() or (value not in text and value not in prompt):
                    place = "text or its prompt" if prompt else "text"
                    raise DataError(
                        f"text {name!r}: attribute {kind!r} is {value!r}, which does not occur in the {place}. Correct the data set."
                    )


@dataclass(frozen=True)
class PlantedCanaries:
    """Canaries, each included in the training data or held out by a coin; no attack audits them.

    `included` and `repetitions` are the coin and the number of copies of each canary. `references` are other samples from
    the formats of the kinds that have one, `reference_kinds` their kinds, and `bits` is log2 of the number of possible
    samples of a kind. `coin` is the probability of inclusion; with `by_seed`, each training seed flips new coins.
    """

    texts: Texts
    included: tuple[bool, ...]
    repetitions: tuple[int, ...]
    kinds: tuple[str, ...]
    coin: float
    references: Texts
    reference_kinds: tuple[str, ...]
    bits: Mapping[str, float]
    by_seed: bool = False

    @functools.cached_property
    def copies(self) -> Texts:
        """The training texts of the canaries: the copies of each included canary, with unique ids."""
        position_and_copy = [
            (i, n) for i, (x, r) in enumerate(zip(self.included, self.repetitions, strict=True)) if x for n in range(r)
        ]
        return Texts(
            tuple(f"{self.texts.ids[i]}/copy/{n}" for i, n in position_and_copy),
            tuple(self.texts.scored[i] for i, _ in position_and_copy),
            tuple(self.texts.prompts[i] for i, _ in position_and_copy),
        )


@dataclass(frozen=True)
class Split:
    """Assignment of texts to training, members, non-members, validation and known texts.

    `members` are positions in `train`: the audited sample of the training texts. `known_members` (from `train`) and
    `known_nonmembers` are known to the adversary and never audited. `counts` has the counts of the split by name (duplicates
    removed, groups, texts left over). `planted` canaries are trained on in addition to `train`. `attributes` has the private
    values of each audited text, `validation_attributes` those of each validation text; () for a data set without attributes.
    `selection` texts select a learning rate, and no attack or reported number reads them.
    """

    train: Texts
    members: tuple[int, ...]
    nonmembers: Texts
    validation: Texts
    member_groups: tuple[str, ...]
    nonmember_groups: tuple[str, ...]
    counts: Mapping[str, int]
    known_members: Texts = NO_TEXTS
    known_nonmembers: Texts = NO_TEXTS
    validation_groups: tuple[str, ...] = ()
    planted: PlantedCanaries | None = None
    attributes: tuple[Mapping[str, str], ...] = ()
    validation_attributes: tuple[Mapping[str, str], ...] = ()
    train_groups: tuple[str, ...] = ()
    selection: Texts = NO_TEXTS
    selection_groups: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Texts]:
        """The texts that a model reads, by part of the split."""
        planted = self.planted
        return {
            "train": self.train if planted is None else self.train.joined(planted.copies),
            "audited": self.audited,
            "validation": self.validation,
            "known_members": self.known_members,
            "known_nonmembers": self.known_nonmembers,
            "canaries": NO_TEXTS if planted is None else planted.texts,
            "canary_references": NO_TEXTS if planted is None else planted.references,
            "audited_rejected": self.audited.rejected_texts,
        }

    @functools.cached_property
    def audited(self) -> Texts:
        """Members, then non-members."""
        return self.train.take(self.members).joined(self.nonmembers)

    @property
    def membership(self) -> Bool[np.ndarray, " texts"]:
        """True for the members among `audited`. Passed to metrics only, never to attacks."""
        return np.arange(len(self.members) + len(self.nonmembers)) < len(self.members)

    @property
    def training_texts(self) -> Texts:
        """All texts that the target is trained on, with canaries. Passed to metrics only, never to attacks."""
        return self.parts["train"]

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each of `audited`."""
        return (*self.member_groups, *self.nonmember_groups)
