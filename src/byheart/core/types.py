"""Value types: frozen, and checked once when made. No torch here."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.chat_messages import with_last_text
from byheart.core.errors import DataError


@dataclass(frozen=True)
class Texts:
    """Texts in order, each with an id, the string that is scored, and the prompt that conditions it ("" for none).

    A preference pair also has its `rejected` response, an alternative to `scored` after the same prompt ("" for any other text).
    For an assistant message, `chats` has the messages up to and including it (`byheart.core.chat_messages.encode_chat`; ""
    for any other text), which each model formats with its chat template; the prompt is then the earlier messages in plain
    text. Contains no membership: an attack that receives `Texts` cannot read which texts are members.
    """

    ids: tuple[str, ...]
    scored: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    chats: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `DataError` for duplicate ids, empty texts, and columns of unequal length."""
        for column in ("prompts", "chats", "rejected"):
            if not getattr(self, column):
                object.__setattr__(self, column, ("",) * len(self.ids))
        if not len(self.ids) == len(self.scored) == len(self.prompts) == len(self.chats) == len(self.rejected):
            raise DataError(
                f"texts: columns differ in length ({len(self.ids)} ids, {len(self.scored)} strings, {len(self.prompts)} prompts, "
                f"{len(self.chats)} chats, {len(self.rejected)} rejected responses). Provide one of each per text."
            )
        if len(set(self.ids)) != len(self.ids):
            duplicate = next(i for i in self.ids if self.ids.count(i) > 1)
            raise DataError(f"text {duplicate!r}: the id is used twice. Make ids unique.")
        for name, text in zip(self.ids, self.scored, strict=True):
            if not text.strip():
                raise DataError(f"text {name!r}: is empty. Remove it, or name another text field.")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Iterable[int]) -> Texts:
        """Return the texts at these positions, in this order."""
        positions = list(indices)
        return Texts(*(tuple(column[i] for i in positions) for column in self._columns))

    def joined(self, others: Texts) -> Texts:
        """Return these texts followed by the others."""
        return Texts(*((*first, *second) for first, second in zip(self._columns, others._columns, strict=True)))

    @property
    def _columns(self) -> tuple[tuple[str, ...], ...]:
        return self.ids, self.scored, self.prompts, self.chats, self.rejected

    @property
    def rejected_texts(self) -> Texts:
        """The rejected responses of preference pairs, after the same prompts; no texts unless every text is a pair."""
        if not all(self.rejected):
            return NO_TEXTS
        chats = (
            with_last_text(chat, text) if chat else "" for chat, text in zip(self.chats, self.rejected, strict=True)
        )
        return Texts(self.ids, self.rejected, self.prompts, tuple(chats))

    @functools.cached_property
    def digest(self) -> str:
        """Content hash (hex) of ids, prompts, strings, chats and rejected responses, in order."""
        rows = list(zip(self.ids, self.prompts, self.scored, strict=True))
        columns = {"chat": self.chats, "rejected": self.rejected}
        others = ((kind, *item) for kind, column in columns.items() for item in zip(self.ids, column, strict=True))
        return digest([*rows, *(row for row in others if row[2])])


def digest(rows: Iterable[Sequence[str]]) -> str:
    """Return a content hash (32 hex digits) of rows of strings; string lengths are hashed too, so borders matter."""
    content_hash = hashlib.blake2b(digest_size=16)
    for row in rows:
        for cell in row:
            encoded = cell.encode("utf-8", "surrogatepass")
            content_hash.update(len(encoded).to_bytes(8, "little") + encoded)
    return content_hash.hexdigest()


NO_TEXTS = Texts((), ())


@dataclass(frozen=True, kw_only=True)
class LogProbs:
    """Log-probability (nats) of each scored token, packed end to end; text i has `logp[starts[i]:starts[i+1]]`."""

    logp: Float[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]

    def __post_init__(self) -> None:
        """Raise `DataError` for a text without a scored token, and for offsets that do not cover the tokens."""
        if len(self.starts) < 1 or self.starts[0] != 0 or self.starts[-1] != len(self.logp):
            raise DataError(
                f"log-probabilities: starts do not cover the {len(self.logp)} tokens. "
                f"Give offsets from 0 to {len(self.logp)}."
            )
        if (np.diff(self.starts) < 1).any():
            empty = int(np.argmax(np.diff(self.starts) < 1))
            raise DataError(f"text number {empty}: has no scored token. Remove it from the evidence of every attack.")
        if not np.isfinite(self.logp).all():
            raise DataError(
                "log-probabilities must be finite: the model overflowed, or a text contains a token of probability 0. "
                "Score in float32, or remove the text."
            )

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.starts) - 1


@dataclass(frozen=True, kw_only=True)
class TokenStats(LogProbs):
    """Log-probability and statistics of the model's next-token distribution for each scored token, from one forward pass.

    `mean` and `std` are the mean and standard deviation of log p over the model's next-token distribution (nats). `entropy`
    is in nats. `rank` is the number of tokens that are likelier than the true one (0: the most likely token).
    """

    mean: Float[np.ndarray, " tokens"]
    std: Float[np.ndarray, " tokens"]
    entropy: Float[np.ndarray, " tokens"]
    rank: Int[np.ndarray, " tokens"]

    def __post_init__(self) -> None:
        """Raise `DataError` for statistics of different lengths."""
        super().__post_init__()
        sizes = {len(v) for v in (self.logp, self.mean, self.std, self.entropy, self.rank)}
        if len(sizes) != 1:
            raise DataError(
                f"token statistics: arrays differ in length ({sorted(sizes)}). Give one value per scored token in each."
            )


Scores = Float[np.ndarray, " texts"]
"""One score per text; higher means member, for every attack."""


class Extraction(NamedTuple):
    """Output of an extraction attack; `scores` is measured like any attack's scores.

    `scores` (0 to 1) is how much of each text was extracted, higher means more. `extracted` applies the attack's rule to the
    scores. `tokens` is the number of suffix tokens of each text.
    """

    scores: Scores
    extracted: Bool[np.ndarray, " texts"]
    tokens: Int[np.ndarray, " texts"]


class Estimate(NamedTuple):
    """A measured number with its confidence interval (95 % by default) and the counts behind it.

    `low` and `high` are None if no interval is defined (a count, a single setting).
    """

    value: float
    low: float | None = None
    high: float | None = None
    members: int | None = None
    nonmembers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number with all its labels. Tables, figures and the report read only rows and scores.

    `*_settings` are the settings that differ from their defaults, as "name=value, ..." ("" for none). `attack` is "" for a
    number of the model; `epoch` is None for a number of the cell, and a fraction for a model inside an epoch. `scores` is
    the store key of the scores that the number was measured from. Rows of epoch 0 are of the base model, except if
    `initialized`: then they are of the method before its first training step. `precision` is the number format in which the
    cell was trained ("" if an older version trained it). `adversary` names what the attack's adversary must have
    (`core.adversary`), "" for a number of the model and in rows of older versions.
    """

    base: str
    dataset: str
    dataset_settings: str
    method: str
    method_settings: str
    training_settings: str
    seed: int
    epoch: int | float | None
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
    initialized: bool = False
    precision: str = ""
    adversary: str = ""


class ScoreSet(NamedTuple):
    """One attack's scores at one epoch of one cell, with membership: the input of ROC curves and score densities.

    `groups` names what belongs together; if it is empty, every text is a separate group. `extracted` and `tokens` are those
    of an `Extraction`, None for any other attack.
    """

    ids: tuple[str, ...]
    scores: Scores
    members: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...] = ()
    extracted: Bool[np.ndarray, " texts"] | None = None
    tokens: Int[np.ndarray, " texts"] | None = None


class TextLosses(NamedTuple):
    """Negative log-probability (nats) of each text's scored tokens in total, and their number; lower means likelier."""

    nats: Float[np.ndarray, " texts"]
    tokens: Int[np.ndarray, " texts"]


@dataclass(frozen=True)
class Table:
    """A finished table of strings, so that every format shows the same. `note` explains how to read it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
