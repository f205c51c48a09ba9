"""Types of evidence about private attributes: readings with candidate values, their likelihoods, and recited values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from byheart.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Token ids of texts in which a private attribute is replaced by each candidate value of its kind.

    Attribute a has the kind `kinds[kind[a]]`, occurs in audited text `text[a]`, and has the readings `starts[a]` up to
    `starts[a+1]`: the reading with the true value, then one reading per other candidate. Reading r is the token ids
    `ids[offsets[r]:offsets[r+1]]`, with prompt and BOS, scored from token `first[r]` on. `values[r]` is its value, and
    `common[r]` the number of texts with this value. `limit` is the largest number of other candidates that a pool has:
    the readings do not show which of them occurred in training. `left_out` counts, by kind, the attributes that
    truncation removed from their texts.
    """

    kinds: tuple[str, ...]
    kind: Int[np.ndarray, " attributes"]
    text: Int[np.ndarray, " attributes"]
    starts: Int[np.ndarray, " attributes_plus_one"]
    ids: Int[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " readings_plus_one"]
    first: Int[np.ndarray, " readings"]
    values: tuple[str, ...]
    common: Int[np.ndarray, " readings"]
    limit: Int[np.ndarray, ""]
    left_out: Int[np.ndarray, " kinds"]

    def __post_init__(self) -> None:
        """Raise `DataError` where there is no attribute, or an attribute has fewer than two candidates."""
        if not len(self.text) or (np.diff(self.starts) < 2).any():  # noqa: PLR2004 - the true value and one other
            raise DataError(
                "private attributes: no attribute, or an attribute with a single candidate. "
                "Provide at least one attribute, and at least two values of each kind. Values that stand only in prompts are those of "
                "the metric prompt_attribute_inference."
            )


@dataclass(frozen=True, kw_only=True)
class PromptLikelihoods:
    """Log-likelihood (nats) of the prompt and of the completion after it, for each reading of `Candidates`."""

    prompt: Float[np.ndarray, " readings"]
    completion: Float[np.ndarray, " readings"]

    def __post_init__(self) -> None:
        """Raise `DataError` for log-likelihoods that are not finite."""
        if not (np.isfinite(self.prompt).all() and np.isfinite(self.completion).all()):
            raise DataError(
                "prompt likelihoods: log-probabilities must be finite. The model overflowed; score it in float32."
            )


@dataclass(frozen=True, kw_only=True)
class RecitedAttributes:
    """Text that a model generated in place of each private attribute (`written`), and the true text (`expected`).

    `kinds`, `kind` and `text` are as in `Candidates`. `left_out` counts, by kind, the attributes without a preceding text and
    the attributes that truncation removed.
    """

    kinds: tuple[str, ...]
    kind: Int[np.ndarray, " attributes"]
    text: Int[np.ndarray, " attributes"]
    written: tuple[str, ...]
    expected: tuple[str, ...]
    left_out: Int[np.ndarray, " kinds"]

    def __post_init__(self) -> None:
        """Raise `DataError` where there is no attribute."""
        if not self.written:
            raise DataError(
                "private attributes: none can be generated, because each one was truncated or begins its text. "
                "Raise data.max_tokens, or choose texts with attributes after the first token."
            )
