"""The nouns: frozen values, checked once when made, trusted afterwards. No torch here."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.errors import DataError

Role = Literal["train", "nonmember", "validation", "pool"]
"""What a data set says of a text: its published role, or `pool` where it publishes none."""


@dataclass(frozen=True)
class Texts:
    """Texts in order: an id each, the string that is scored, and the prompt that conditions it ("" for none).

    Of an answer in a chat `chats` holds all that was said, the answer last (`byheart.core.chat_messages.coded`; "" for any other
    text), which each model's own template writes; the prompt is then the same in plain words, for who reads no model.
    Carries no membership: an attack that is handed `Texts` cannot see who is a member.
    """

    ids: tuple[str, ...]
    scored: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    chats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse ids that are not unique, empty texts, and columns of unequal length."""
        for column in ("prompts", "chats"):
            if not getattr(self, column):
                object.__setattr__(self, column, ("",) * len(self.ids))
        if not len(self.ids) == len(self.scored) == len(self.prompts) == len(self.chats):
            raise DataError(
                f"texts need one id, string, prompt and chat each: {len(self.ids)} ids, {len(self.scored)} strings, "
                f"{len(self.prompts)} prompts, {len(self.chats)} chats"
            )
        if len(set(self.ids)) != len(self.ids):
            twice = next(i for i in self.ids if self.ids.count(i) > 1)
            raise DataError(f"text id {twice!r} is used twice; ids must be unique")
        for name, text in zip(self.ids, self.scored, strict=True):
            if not text.strip():
                raise DataError(f"text {name!r} is empty; remove it or name another text field")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Iterable[int]) -> Texts:
        """Return the texts at these positions, in this order."""
        chosen = list(indices)
        return Texts(*(tuple(column[i] for i in chosen) for column in self._columns))

    def joined(self, others: Texts) -> Texts:
        """Return these texts, then the others."""
        return Texts(*((*ours, *theirs) for ours, theirs in zip(self._columns, others._columns, strict=True)))

    @property
    def _columns(self) -> tuple[tuple[str, ...], ...]:
        return self.ids, self.scored, self.prompts, self.chats

    @functools.cached_property
    def digest(self) -> str:
        """Content hash (hex) of ids, strings and prompts, in order; chats by all that was said."""
        rows = list(zip(self.ids, self.prompts, self.scored, strict=True))
        return digest([*rows, *(("chat", name, chat) for name, chat in zip(self.ids, self.chats, strict=True) if chat)])


def digest(rows: Iterable[Sequence[str]]) -> str:
    """Return a content hash (32 hex digits) of rows of strings; no two different lists of rows share their bytes."""
    whole = hashlib.blake2b(digest_size=16)
    for row in rows:
        for cell in row:
            coded = cell.encode("utf-8", "surrogatepass")
            whole.update(len(coded).to_bytes(8, "little") + coded)
    return whole.hexdigest()


NO_TEXTS = Texts((), ())


@dataclass(frozen=True)
class Examples:
    """What a data set gives: texts, each with its published role, its group, and its private attributes.

    `groups` names what belongs together (an article, a triple set, a user) and is never split between roles.
    `attributes` holds, per text, named private values that stand verbatim in its scored string (empty where it has none).
    """

    texts: Texts
    roles: tuple[Role, ...]
    groups: tuple[str, ...]
    attributes: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse columns of unequal length, and attributes that do not stand in their texts."""
        if not self.attributes:
            object.__setattr__(self, "attributes", ({},) * len(self.texts))
        if not len(self.texts) == len(self.roles) == len(self.groups) == len(self.attributes):
            raise DataError(
                f"examples need one role and group each: {len(self.texts)} texts, {len(self.roles)} roles, {len(self.groups)} groups"
            )
        for name, text, attributes in zip(self.texts.ids, self.texts.scored, self.attributes, strict=True):
            for kind, value in attributes.items():
                if not value.strip() or value not in text:
                    raise DataError(
                        f"text {name!r}: attribute {kind!r} is {value!r}, which does not stand in the text; mend the data set"
                    )


@dataclass(frozen=True)
class PlantedCanaries:
    """Canaries: texts that a coin each had trained on, so many times, or held out; never audited otherwise.

    `references` are other fillings of the formats of the kinds that have one, `reference_kinds` says whose, and `bits` how
    many fillings a kind has (log2). `coin` is the chance with which each was to be trained on; `by_seed` says that every
    training seed flips its own.
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
        """What is trained on: each included canary as often as it is to be repeated, with ids of their own."""
        told = [
            (i, n) for i, (x, r) in enumerate(zip(self.included, self.repetitions, strict=True)) if x for n in range(r)
        ]
        return Texts(
            tuple(f"{self.texts.ids[i]}/copy/{n}" for i, n in told),
            tuple(self.texts.scored[i] for i, _ in told),
            tuple(self.texts.prompts[i] for i, _ in told),
        )


@dataclass(frozen=True)
class Split:
    """Who plays which part. `members` are positions in `train`: the audited sample of what was trained on.

    `known_members` (of `train`) and `known_nonmembers` are what an adversary knows already; none of them is audited.
    `counts` is what splitting did (duplicates removed, groups, texts left over), by name. `planted` canaries are trained
    on besides `train`. `attributes` are the named private values of each of `audited`, `validation_attributes` those of
    each validation text; () where there are none.
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

    @property
    def parts(self) -> dict[str, Texts]:
        """The texts that a model reads, by the part they play."""
        planted = self.planted
        return {
            "train": self.train if planted is None else self.train.joined(planted.copies),
            "audited": self.audited,
            "validation": self.validation,
            "known_members": self.known_members,
            "known_nonmembers": self.known_nonmembers,
            "canaries": NO_TEXTS if planted is None else planted.texts,
            "canary_references": NO_TEXTS if planted is None else planted.references,
        }

    @functools.cached_property
    def audited(self) -> Texts:
        """Members, then non-members, with ids made unique by their part."""
        return self.train.take(self.members).joined(self.nonmembers)

    @property
    def membership(self) -> Bool[np.ndarray, " texts"]:
        """True for the members among `audited`. Handed to metrics only."""
        return np.arange(len(self.members) + len(self.nonmembers)) < len(self.members)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each of `audited`."""
        return (*self.member_groups, *self.nonmember_groups)


@dataclass(frozen=True, kw_only=True)
class LogProbs:
    """Log-probability (nats) of each scored token, packed end to end; text i is `logp[starts[i]:starts[i+1]]`."""

    logp: Float[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]

    def __post_init__(self) -> None:
        """Refuse texts without a scored token, and offsets that do not cover the tokens."""
        if len(self.starts) < 1 or self.starts[0] != 0 or self.starts[-1] != len(self.logp):
            raise DataError(f"starts must run from 0 to the {len(self.logp)} tokens")
        if (np.diff(self.starts) < 1).any():
            empty = int(np.argmax(np.diff(self.starts) < 1))
            raise DataError(f"text number {empty} has no scored token; remove it from every attack at once")
        if not np.isfinite(self.logp).all():
            raise DataError(
                "log-probabilities must be finite; the model's numbers overflowed, or a text holds a forbidden token"
            )

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.starts) - 1


@dataclass(frozen=True, kw_only=True)
class TokenStats(LogProbs):
    """One forward pass: per scored token also what the model's whole next-token distribution said.

    `mean` and `std` are the mean and standard deviation of log p under the model itself (nats), `entropy` is in
    nats, `rank` counts the tokens that are likelier than the true one (0: the model's first choice).
    """

    mean: Float[np.ndarray, " tokens"]
    std: Float[np.ndarray, " tokens"]
    entropy: Float[np.ndarray, " tokens"]
    rank: Int[np.ndarray, " tokens"]

    def __post_init__(self) -> None:
        """Refuse statistics that do not all speak of the same tokens."""
        super().__post_init__()
        sizes = {len(v) for v in (self.logp, self.mean, self.std, self.entropy, self.rank)}
        if len(sizes) != 1:
            raise DataError(f"token statistics differ in length: {sorted(sizes)}")


Scores = Float[np.ndarray, " texts"]
"""One float per text; higher means more likely a member, for every attack."""


class Extraction(NamedTuple):
    """What an attack gives that makes a model write its texts: more than scores, and measured as both.

    `scores` (0 to 1) say how much of a text was had, higher means more; `extracted` is the attack's own rule on them;
    `tokens` is how many tokens of each text were to be had.
    """

    scores: Scores
    extracted: Bool[np.ndarray, " texts"]
    tokens: Int[np.ndarray, " texts"]


class Estimate(NamedTuple):
    """A measured number with its interval (95 % unless said otherwise) and the counts behind it.

    `low` and `high` are None where no interval is defined: a count, a single setting.
    """

    value: float
    low: float | None = None
    high: float | None = None
    members: int | None = None
    nonmembers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number with all its labels. Tables, figures and the report read rows (and scores) and nothing else.

    `*_settings` are the settings that differ from their defaults, as "name=value, ..." ("" for none).
    `attack` is "" where the number belongs to the model and not to an attack; `epoch` is None where it belongs
    to the whole cell. `scores` is the store's key of the scores it was measured from.
    """

    base: str
    dataset: str
    dataset_settings: str
    method: str
    method_settings: str
    training_settings: str
    seed: int
    epoch: int | None
    attack: str
    attack_settings: str
    metric: str
    metric_settings: str
    value: float
    low: float | None
    high: float | None
    members: int | None
    nonmembers: int | None
    cell: str
    scores: str


class ScoreSet(NamedTuple):
    """One attack's scores at one epoch of one cell, with who was a member: what a density or a ROC is drawn from.

    `groups` names what belongs together; where none were kept, every text is a group of its own. `extracted` and `tokens`
    are those of an `Extraction`, None for any other attack.
    """

    ids: tuple[str, ...]
    scores: Scores
    members: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...] = ()
    extracted: Bool[np.ndarray, " texts"] | None = None
    tokens: Int[np.ndarray, " texts"] | None = None


class TextLosses(NamedTuple):
    """How a model reads each text: the negative log-probability (nats) of its scored tokens, and their number."""

    nats: Float[np.ndarray, " texts"]
    tokens: Int[np.ndarray, " texts"]


@dataclass(frozen=True)
class Table:
    """A finished table: strings only, so that every format shows the same. `note` says what the reader must know."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
