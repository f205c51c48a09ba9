"""Counts how frequent each scored token is in texts that the model was not trained on; uses no model.

The reference texts are the known non-members and, with `source`, the texts of a file: a large public corpus estimates token
frequencies much better than a few dozen texts. A file that has changed is counted again. A file that contains an audited text
is refused: its tokens would be frequent because they occur there, and possibly more so for members.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from jaxtyping import Bool, Int

from byheart.core.errors import DataError
from byheart.core.evidence import Frequencies
from byheart.core.paths import expanded
from byheart.core.registry import ContentIdentity
from byheart.data.formats import file_hash, read_rows
from byheart.data.near_duplicates import SHINGLE_WORDS
from byheart.data.readers import string_field

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 0.0
ADVERSARY = "texts of the same kind that the target model was not trained on"

BLOCK = 1000
"""Texts of a corpus that are tokenized at a time."""


def _corpus_identity(source: str) -> str:
    """Return the hash of a corpus file, "" without one; raise `DataError` if it cannot be read."""
    return file_hash(expanded(source)) if source else ""


def frequencies(
    base_model: Scorer,
    tokens: Tokens,
    known_nonmember_tokens: Tokens,
    *,
    source: Annotated[str, ContentIdentity(_corpus_identity)] = "",
    field: str = "text",
) -> Frequencies:
    """Laplace-smoothed frequency (0 to 1) of each scored token in reference texts, and whether it is the first in its text.

    `source` is a JSONL, CSV, Parquet or text file that is counted too, `field` the field of its rows. A token that no reference text
    contains has a frequency of 1 / (reference tokens + vocabulary). Raises `DataError` if the file cannot be read, or a row begins
    with an audited text.
    """
    counts = np.bincount(known_nonmember_tokens.scored_ids, minlength=base_model.model.vocabulary_size)
    if source:
        strings = [string_field(row, field) for row in read_rows(expanded(source))]
        _check_no_audited_texts(source, strings, tokens.texts.scored)
        counts = counts + _token_counts(base_model, strings, len(counts))
    smoothed = (counts + 1) / (counts.sum() + len(counts))
    starts = tokens.scored_starts
    return Frequencies(
        frequency=smoothed[tokens.scored_ids], first=_is_first_occurrence(tokens.scored_ids, starts), starts=starts
    )


def _check_no_audited_texts(source: str, strings: Sequence[str], audited_texts: Sequence[str]) -> None:
    """Raise `DataError` for a corpus with rows that begin with an audited text; texts of fewer than five words are not checked."""
    beginnings: dict[tuple[str, ...], list[str]] = {}
    for words in (text.casefold().split() for text in audited_texts):
        if len(words) >= SHINGLE_WORDS:
            beginnings.setdefault(tuple(words[:SHINGLE_WORDS]), []).append(" ".join(words))
    overlap_count = 0
    for words in (text.casefold().split() for text in strings):
        row = " ".join(words)
        overlap_count += any(row.startswith(text) for text in beginnings.get(tuple(words[:SHINGLE_WORDS]), ()))
    if overlap_count:
        raise DataError(
            f"observations frequencies: {overlap_count} of {len(strings)} texts of {source} are audited texts. Name a corpus without them."
        )


def _token_counts(model: Scorer, strings: Sequence[str], vocabulary: int) -> Int[np.ndarray, " vocabulary"]:
    """Return how often each token occurs in these texts."""
    counts = np.zeros(vocabulary, dtype=np.int64)
    for begin in range(0, len(strings), BLOCK):
        ids = model.model.tokenizer(list(strings[begin : begin + BLOCK]), add_special_tokens=False)["input_ids"]
        counts += np.bincount(np.fromiter(itertools.chain.from_iterable(ids), np.int64), minlength=vocabulary)
    return counts


def _is_first_occurrence(
    ids: Int[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> Bool[np.ndarray, " tokens"]:
    """Return True where a token occurs for the first time among the scored tokens of its text."""
    text_index = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    first = np.zeros(len(ids), dtype=np.bool_)
    first[np.unique(text_index * (ids.max(initial=0) + 1) + ids, return_index=True)[1]] = True
    return first
