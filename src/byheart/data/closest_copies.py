"""Copies of texts in a set of generated texts: longest common run of tokens, and similarity of the nearest copy.

The similarity is that of near duplicates (`byheart.data.near_duplicates`) with one difference: containment counts only the text's
own runs. A short generated text that is a small part of a long text is no copy of it.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from byheart.data.near_duplicates import CONTAINED_GRAM_UNITS, MIN_CONTAINED_UNITS, SHINGLE_WORDS
from byheart.data.text_units import text_units

TokenIds = Int[np.ndarray, " ids"]
TEXTS_PER_BLOCK = 256
"""Texts that are aligned with all generated texts at once."""


def longest_common_runs(texts: Sequence[TokenIds], others: Sequence[TokenIds]) -> Int[np.ndarray, " texts"]:
    """Return the length (tokens) of the longest run of each text that one of the other texts contains.

    Exact: runs of one more token are numbered from the numbers of runs (Karp, Miller and Rosenberg, STOC 1972).
    """
    sequences = [*texts, *others]
    ids = np.concatenate([np.zeros(0, np.int64), *sequences])
    lengths = np.array([len(s) for s in sequences], np.int64)
    ends, owner = np.repeat(np.cumsum(lengths), lengths), np.repeat(np.arange(len(sequences)), lengths)
    vocabulary = int(ids.max(initial=0)) + 1
    runs, length = np.zeros(len(texts), np.int64), 1
    position, number = np.arange(len(ids)), ids
    while True:
        is_own = owner[position] < len(texts)
        is_shared = np.isin(number, number[is_own]) & np.isin(number, number[~is_own])
        if not is_shared.any():
            return runs
        runs[owner[position[is_shared & is_own]]] = length
        # Only a shared run can be the beginning of a longer one.
        is_kept = is_shared & (position + length < ends[position])
        position, number = position[is_kept], number[is_kept]
        number = np.unique(number * vocabulary + ids[position + length], return_inverse=True)[1]
        length += 1


def nearest_similarity(texts: Sequence[str], others: Sequence[str]) -> Float[np.ndarray, " texts"]:
    """Return the similarity (0 to 1) of each text to the most similar other text; 0 without other texts."""
    units, other_units = [text_units(t) for t in texts], [text_units(t) for t in others]
    if not others or not texts:
        return np.zeros(len(texts))
    nearest = _aligned_shares(units, other_units)
    for size, is_contained in ((SHINGLE_WORDS, False), (CONTAINED_GRAM_UNITS, True)):
        grams_of_others = [_grams(u, size) for u in other_units]
        with_gram: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for j, grams in enumerate(grams_of_others):
            for gram in grams:
                with_gram[gram].append(j)
        for i, own_units in enumerate(units):
            if is_contained and len(own_units) < MIN_CONTAINED_UNITS:
                continue
            grams = _grams(own_units, size)
            counts = Counter(j for gram in grams for j in with_gram.get(gram, ()))
            for j, count in counts.items():
                total = len(grams) if is_contained else len(grams) + len(grams_of_others[j]) - count
                nearest[i] = max(nearest[i], count / total)
    return nearest


def _aligned_shares(
    units: Sequence[Sequence[str]], other_units: Sequence[Sequence[str]]
) -> Float[np.ndarray, " texts"]:
    """Return the largest Jaccard index of each text's units that are aligned with those of another text."""
    numbers: dict[str, int] = {}
    rows = [[numbers.setdefault(unit, len(numbers)) for unit in u] for u in (*units, *other_units)]
    is_string = len(numbers) <= sys.maxunicode  # rapidfuzz compares strings faster
    encoded = ["".join(map(chr, row)) if is_string else tuple(row) for row in rows]
    lengths = np.array([len(row) for row in rows])
    own, others, other_lengths = encoded[: len(units)], encoded[len(units) :], lengths[len(units) :]
    shares: list[Float[np.ndarray, " block"]] = []
    for start in range(0, len(own), TEXTS_PER_BLOCK):
        block = own[start : start + TEXTS_PER_BLOCK]
        aligned = process.cdist(block, others, scorer=LCSseq.similarity, dtype=np.int32)
        union = lengths[start : start + len(block), None] + other_lengths - aligned
        shares.append((aligned / union).max(1))
    return np.concatenate(shares)


def _grams(units: Sequence[str], size: int) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(units[i : i + size]) for i in range(len(units) - size + 1))
