"""How common each scored token is in texts that the model was not trained on; no model reads anything.

The reference texts are those that the adversary knows not to have been trained on, and with `source` the texts of a
file too: a large public corpus says far better than a few dozen texts which tokens are common. A file that has
changed is counted anew. One that holds an audited text is refused: its tokens would be common for standing there, and
a member's perhaps more often than another's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from jaxtyping import Bool, Int

from byheart.core.errors import DataError
from byheart.core.evidence import Frequencies
from byheart.core.registry import ContentIdentity
from byheart.data import readers
from byheart.data.near_duplicates import SHINGLE_WORDS

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 0.0
ADVERSARY = "texts of the same kind that were not trained on"

BLOCK = 1000
"""Texts of a corpus that are cut into tokens at a time."""


def _corpus_identity(source: str) -> str:
    """Return what tells a corpus from any other; raises `DataError` where it cannot be read."""
    return readers.file_hash(Path(source).expanduser()) if source else ""


def frequencies(
    base_model: Scorer,
    tokens: Tokens,
    known_nonmember_tokens: Tokens,
    *,
    source: Annotated[str, ContentIdentity(_corpus_identity)] = "",
    field: str = "text",
) -> Frequencies:
    """Laplace-smoothed frequency of each scored token in reference texts, and whether it is the first in its text.

    `source` is a JSONL, CSV, Parquet or text file that is counted too, `field` the field of its rows; raises `DataError`
    where it cannot be read, and where a row begins with an audited text. A token that no reference text holds has
    1 / (reference tokens + vocabulary).
    """
    counts = np.bincount(known_nonmember_tokens.scored_ids, minlength=base_model.model.vocabulary_size)
    if source:
        strings = [readers.string_field(row, field) for row in readers.read_rows(Path(source).expanduser())]
        _check_no_audited_texts(source, strings, tokens.texts.scored)
        counts = counts + _token_counts(base_model, strings, len(counts))
    smoothed = (counts + 1) / (counts.sum() + len(counts))
    starts = tokens.scored_starts
    return Frequencies(
        frequency=smoothed[tokens.scored_ids], first=_is_first_occurrence(tokens.scored_ids, starts), starts=starts
    )


def _check_no_audited_texts(source: str, strings: Sequence[str], audited_texts: Sequence[str]) -> None:
    """Raise `DataError` for a corpus with rows that begin with an audited text; those of fewer than five words may be anywhere."""
    beginnings: dict[tuple[str, ...], list[str]] = {}
    for words in (text.casefold().split() for text in audited_texts):
        if len(words) >= SHINGLE_WORDS:
            beginnings.setdefault(tuple(words[:SHINGLE_WORDS]), []).append(" ".join(words))
    found = 0
    for words in (text.casefold().split() for text in strings):
        whole = " ".join(words)
        found += any(whole.startswith(text) for text in beginnings.get(tuple(words[:SHINGLE_WORDS]), ()))
    if found:
        raise DataError(
            f"observations frequencies: {found} of {len(strings)} texts of {source} are audited ones; name a corpus without them"
        )


def _token_counts(model: Scorer, strings: Sequence[str], vocabulary: int) -> Int[np.ndarray, " vocabulary"]:
    """How often each token occurs in these texts."""
    counts = np.zeros(vocabulary, dtype=np.int64)
    for at in range(0, len(strings), BLOCK):
        ids = model.model.tokenizer(list(strings[at : at + BLOCK]), add_special_tokens=False)["input_ids"]
        counts += np.bincount(np.fromiter(itertools.chain.from_iterable(ids), np.int64), minlength=vocabulary)
    return counts


def _is_first_occurrence(
    ids: Int[np.ndarray, " tokens"], starts: Int[np.ndarray, " texts_plus_one"]
) -> Bool[np.ndarray, " tokens"]:
    """True where a token occurs for the first time among the scored tokens of its text."""
    text_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    first = np.zeros(len(ids), dtype=np.bool_)
    first[np.unique(text_of * (ids.max(initial=0) + 1) + ids, return_index=True)[1]] = True
    return first
