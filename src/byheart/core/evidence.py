"""Kinds of evidence besides token statistics: what an observation may give, and how any of it is stored.

All of it is arrays and strings, each frozen and checked once when made. No torch here.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.errors import DataError
from byheart.core.types import LogProbs, TokenStats


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """How common each scored token is in reference texts: `frequency` in (0, 1), smoothed, packed as in `LogProbs`.

    `first` is True where a token occurs for the first time in its text.
    """

    frequency: Float[np.ndarray, " tokens"]
    first: Bool[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class Variants:
    """Other readings of each text (its neighbours, or itself after other prefixes), by mean log-probability (nats).

    Text i has the readings `loglik[starts[i]:starts[i+1]]`, one at least.
    """

    loglik: Float[np.ndarray, " variants"]
    starts: Int[np.ndarray, " texts_plus_one"]

    def __post_init__(self) -> None:
        """Refuse texts without a reading, and readings that are not finite."""
        if self.starts[0] != 0 or self.starts[-1] != len(self.loglik) or (np.diff(self.starts) < 1).any():
            raise DataError("every text needs one reading at least; make fewer texts, or longer ones")
        if not np.isfinite(self.loglik).all():
            raise DataError("log-probabilities must be finite; the model's numbers overflowed")


@dataclass(frozen=True, kw_only=True)
class Substitutes:
    """Neighbours of each text as token ids: text i has `starts[i+1] - starts[i]` of them, one at least.

    Neighbour j is `ids[offsets[j]:offsets[j+1]]`, BOS and prompt included, which are the text's own.
    """

    ids: Int[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " neighbours_plus_one"]
    starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Norm of each text's own loss gradient on the trained parameters (nats per unit of weight)."""

    norm: Float[np.ndarray, " texts"]


@dataclass(frozen=True, kw_only=True)
class Generations:
    """What a model wrote after the beginning of each text, and how the text itself goes on.

    Text i has the continuations `written[starts[i]:starts[i+1]]`, one at least; `rest[i]` is its own continuation.
    """

    written: tuple[str, ...]
    rest: tuple[str, ...]
    starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class Suffixes:
    """Where each text is parted: its tokens `begin` to `end` are to be had from a model that is handed those before.

    Places among all of a text's tokens, BOS and prompt counted; 1 at least, and `end` after `begin`.
    """

    begin: Int[np.ndarray, " texts"]
    end: Int[np.ndarray, " texts"]


@dataclass(frozen=True, kw_only=True)
class Recitation:
    """Token ids that a model wrote after the beginning of each text, and those that the text has there.

    Packed end to end: text i has `true[starts[i]:starts[i+1]]`, one at least, and the model wrote
    `written[written_starts[i]:written_starts[i+1]]`, as many or, where it ended by itself, fewer.
    """

    true: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]
    written: Int[np.ndarray, " written_tokens"]
    written_starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class Chances:
    """Log-probability (nats) that a model which samples draws each token of a suffix after those before it.

    Minus infinity where it cannot. Text i has `logp[starts[i]:starts[i+1]]`, one at least.
    """

    logp: Float[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]

    def __post_init__(self) -> None:
        """Refuse what is no log-probability."""
        if np.isnan(self.logp).any() or (self.logp > 0).any():
            raise DataError("log-probabilities are numbers of at most 0; the model's numbers overflowed")


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """Shadow models: tuned as the target was, each on a known half of the audited texts.

    `logp` holds each shadow's log-probabilities (nats) of the audited texts' scored tokens, packed by `starts` as in
    `LogProbs`; `inside` says which texts a shadow was tuned on. `population_logp` and `population_starts` are the same
    for texts that neither the target nor any shadow was tuned on.
    """

    logp: Float[np.ndarray, "shadows tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]
    inside: Bool[np.ndarray, "shadows texts"]
    population_logp: Float[np.ndarray, "shadows population_tokens"]
    population_starts: Int[np.ndarray, " population_plus_one"]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Texts with a private attribute exchanged for others of its kind: what an attribute is chosen among.

    Attribute a is of the kind `kinds[kind[a]]`, stands in audited text `text[a]`, and has the readings `starts[a]` to
    `starts[a+1]`: first that with its true value, then one for each other candidate. Reading r is the token ids
    `ids[offsets[r]:offsets[r+1]]`, prompt and BOS included, scored from its `first[r]`-th on, and how many texts have its
    value is `common[r]`. `left_out` counts, by kind, attributes that were cut off their texts.
    """

    kinds: tuple[str, ...]
    kind: Int[np.ndarray, " attributes"]
    text: Int[np.ndarray, " attributes"]
    starts: Int[np.ndarray, " attributes_plus_one"]
    ids: Int[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " readings_plus_one"]
    first: Int[np.ndarray, " readings"]
    common: Int[np.ndarray, " readings"]
    left_out: Int[np.ndarray, " kinds"]

    def __post_init__(self) -> None:
        """Refuse an attribute with nothing to choose among, and none at all."""
        if not len(self.text) or (np.diff(self.starts) < 2).any():  # noqa: PLR2004 - the truth and one other
            raise DataError("every private attribute needs one other candidate at least, and there must be one of them")


@dataclass(frozen=True, kw_only=True)
class RecitedAttributes:
    """What a model wrote from where a private attribute begins: `written`, beside what stands there up to its end.

    `kinds`, `kind` and `text` are those of `Candidates`. `left_out` counts, by kind, attributes that nothing stands
    before, or that were cut off their texts.
    """

    kinds: tuple[str, ...]
    kind: Int[np.ndarray, " attributes"]
    text: Int[np.ndarray, " attributes"]
    written: tuple[str, ...]
    expected: tuple[str, ...]
    left_out: Int[np.ndarray, " kinds"]

    def __post_init__(self) -> None:
        """Refuse none at all."""
        if not self.written:
            raise DataError("no private attribute can be asked for: each was cut off, or is what its text begins with")


class ShadowPass(NamedTuple):
    """Which audited texts a shadow was tuned on, and what it says of them and of a population (None without one)."""

    inside: Bool[np.ndarray, " texts"]
    audited: LogProbs
    population: LogProbs | None = None


Evidence = (
    LogProbs
    | Frequencies
    | Variants
    | Substitutes
    | Gradients
    | Generations
    | Suffixes
    | Recitation
    | Chances
    | Candidates
    | RecitedAttributes
    | Shadows
)
"""What an observation gives. All of it is arrays and strings, so that any of it can be stored without pickle."""


def evidence_to_arrays(evidence: Evidence) -> dict[str, np.ndarray]:
    """Return evidence as arrays by name, strings as arrays of characters."""
    return {f.name: np.asarray(getattr(evidence, f.name)) for f in fields(evidence)}


EVIDENCE_TYPES: Mapping[str, type[Any]] = {kind.__name__: kind for kind in (TokenStats, *typing.get_args(Evidence))}


def evidence_from_arrays(kind: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return evidence of a kind (the name of its class, one of `KINDS`) from its arrays."""
    return EVIDENCE_TYPES[kind](**{n: tuple(map(str, a)) if a.dtype.kind == "U" else a for n, a in arrays.items()})
