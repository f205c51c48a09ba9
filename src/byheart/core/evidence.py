"""Types of evidence besides token statistics, and their storage format.

Evidence consists of arrays and strings only, frozen and checked once when made. No torch here.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.activations import Activations, Drift
from byheart.core.attribute_evidence import Candidates, PromptLikelihoods, RecitedAttributes
from byheart.core.completions import Completions
from byheart.core.errors import DataError
from byheart.core.types import LogProbs, TokenStats


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """Smoothed frequency (0 to 1, both exclusive) of each scored token in reference texts, packed as in `LogProbs`.

    `first` is True for the first occurrence of a token in its text.
    """

    frequency: Float[np.ndarray, " tokens"]
    first: Bool[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class Variants:
    """Mean log-probability (nats) of each text's variants: its neighbors, or the text after other prefixes.

    Text i has the variants `loglik[starts[i]:starts[i+1]]`, at least one.
    """

    loglik: Float[np.ndarray, " variants"]
    starts: Int[np.ndarray, " texts_plus_one"]

    def __post_init__(self) -> None:
        """Raise `DataError` for a text without a variant, and for a log-probability that is not finite."""
        if self.starts[0] != 0 or self.starts[-1] != len(self.loglik) or (np.diff(self.starts) < 1).any():
            raise DataError("variants: a text has no variant. Use longer texts.")
        if not np.isfinite(self.loglik).all():
            raise DataError("variants: log-probabilities must be finite. The model overflowed; score it in float32.")


@dataclass(frozen=True, kw_only=True)
class NeighborTokens:
    """Token ids of each text's neighbors: text i has `starts[i+1] - starts[i]` of them, at least one.

    Neighbor j is `ids[offsets[j]:offsets[j+1]]`, with the BOS and prompt of the original text.
    """

    ids: Int[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " neighbours_plus_one"]
    starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Norm of each text's loss gradient with respect to the trained parameters (nats per unit of weight)."""

    norm: Float[np.ndarray, " texts"]


@dataclass(frozen=True, kw_only=True)
class GradientAlignment:
    """Cosine (-1 to 1) of minus each text's loss gradient with the displacement of the trained parameters; 0 without one."""

    cosine: Float[np.ndarray, " texts"]


@dataclass(frozen=True, kw_only=True)
class Generations:
    """Generated continuations of each text's prefix, and the true suffix.

    Text i has the continuations `written[starts[i]:starts[i+1]]`, at least one; `rest[i]` is the true suffix.
    """

    written: tuple[str, ...]
    rest: tuple[str, ...]
    starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class SyntheticTexts:
    """Texts that a model generated without a prefix of an audited text, such as a released synthetic data set."""

    generated: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise `DataError` where every text is empty."""
        if not any(text.strip() for text in self.generated):
            raise DataError(
                "synthetic texts: there is no text, or all are empty. Provide texts that the model generated."
            )


@dataclass(frozen=True, kw_only=True)
class PromptedTexts:
    """Token ids of texts that a model generated after prompts, to fine-tune another model on.

    Text i is `ids[starts[i]:starts[i+1]]`, with BOS and prompt; its tokens from index `first[i]` receive loss, at least one.
    """

    ids: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]
    first: Int[np.ndarray, " texts"]

    def __post_init__(self) -> None:
        """Raise `DataError` without texts, and for a text without a token that receives loss."""
        if not len(self.first) or (np.diff(self.starts) <= self.first).any():
            raise DataError("prompted texts: a text has no token to train on. Use longer known non-members.")


@dataclass(frozen=True, kw_only=True)
class ContrastiveSamples:
    """Texts generated without a prefix of any audited text, and how much of each audited text they contain.

    `written` are the generated texts, the same for all audited texts. Text i has `length[i]` tokens; `run[i]` is its longest run
    of tokens in a generated text, and `similarity[i]` (0 to 1) its similarity to the nearest generated text.
    """

    written: tuple[str, ...]
    run: Int[np.ndarray, " texts"]
    length: Int[np.ndarray, " texts"]
    similarity: Float[np.ndarray, " texts"]


@dataclass(frozen=True, kw_only=True)
class SuffixSpans:
    """Suffix of each text, to be generated from the preceding tokens: its tokens from `begin` up to `end`.

    Positions count all tokens of a text, with BOS and prompt. `begin` is at least 1, and `end` is greater than `begin`.
    """

    begin: Int[np.ndarray, " texts"]
    end: Int[np.ndarray, " texts"]


@dataclass(frozen=True, kw_only=True)
class GreedyContinuation:
    """Token ids of each text's suffix, and token ids that a model generated after the prefix.

    Packed end to end: the suffix of text i is `true[starts[i]:starts[i+1]]`, at least one token. The model generated
    `written[written_starts[i]:written_starts[i+1]]`: as many tokens, or fewer if it generated an end token.
    """

    true: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]
    written: Int[np.ndarray, " written_tokens"]
    written_starts: Int[np.ndarray, " texts_plus_one"]


@dataclass(frozen=True, kw_only=True)
class SamplingLogProbs:
    """Log-probability (nats) of each suffix token under a model's sampling distribution, after the tokens before it.

    Minus infinity for a token that cannot be sampled. Text i has `logp[starts[i]:starts[i+1]]`, at least one.
    """

    logp: Float[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]

    def __post_init__(self) -> None:
        """Raise `DataError` for values that are not log-probabilities."""
        if np.isnan(self.logp).any() or (self.logp > 0).any():
            raise DataError(
                "sampling log-probabilities: values must be at most 0. The model overflowed; score it in float32."
            )


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """Log-probabilities of shadow models, each fine-tuned like the target on a known half of the audited texts.

    `logp` has each shadow model's log-probabilities (nats) of the audited texts' scored tokens, packed by `starts` as in
    `LogProbs`. `inside` is True for the texts that a shadow model was fine-tuned on. `population_logp` and
    `population_starts` are the same for texts that neither the target nor any shadow model was fine-tuned on.
    """

    logp: Float[np.ndarray, "shadows tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]
    inside: Bool[np.ndarray, "shadows texts"]
    population_logp: Float[np.ndarray, "shadows population_tokens"]
    population_starts: Int[np.ndarray, " population_plus_one"]


class ShadowPass(NamedTuple):
    """One shadow model: which audited texts it was fine-tuned on, and its log-probabilities of them and of a population.

    `population` is None if there are no population texts.
    """

    inside: Bool[np.ndarray, " texts"]
    audited: LogProbs
    population: LogProbs | None = None


Evidence = (
    LogProbs
    | Frequencies
    | Variants
    | NeighborTokens
    | Gradients
    | GradientAlignment
    | Generations
    | SyntheticTexts
    | PromptedTexts
    | ContrastiveSamples
    | SuffixSpans
    | GreedyContinuation
    | SamplingLogProbs
    | Candidates
    | PromptLikelihoods
    | RecitedAttributes
    | Shadows
    | Completions
    | Activations
    | Drift
)
"""Types that an observation may return. They consist of arrays and strings, and so are stored without pickle."""


def evidence_to_arrays(evidence: Evidence) -> dict[str, np.ndarray]:
    """Return evidence as arrays by name, strings as arrays of characters."""
    return {f.name: np.asarray(getattr(evidence, f.name)) for f in fields(evidence)}


EVIDENCE_TYPES: Mapping[str, type[Any]] = {kind.__name__: kind for kind in (TokenStats, *typing.get_args(Evidence))}


def evidence_from_arrays(kind: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return evidence of a kind (a class name, one of `EVIDENCE_TYPES`) from its arrays."""
    return EVIDENCE_TYPES[kind](**{n: tuple(map(str, a)) if a.dtype.kind == "U" else a for n, a in arrays.items()})
