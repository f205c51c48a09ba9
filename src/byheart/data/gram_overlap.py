"""Runs of consecutive units (q-grams) of many texts, and the search for pairs of texts that share enough of them.

The search is exact. Suppose that two texts share at least r of their grams, and all grams are ordered alike, the rarest
first. Then the first |A| - r + 1 grams of A and the first |B| - r + 1 grams of B have one in common, because the last r - 1
grams of either are too few for all shared ones (prefix filtering: Bayardo, Ma, Srikant, Scaling Up All Pairs Similarity
Search, WWW 2007). So only pairs with a common rare gram are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

MAX_BATCH_PAIRS = 20_000_000  # pairs of a text and a rare gram's text that are in memory at once

Indices = Int[np.ndarray, " indices"]
Pairs = tuple[Indices, Indices]


class EncodedTexts(NamedTuple):
    """Numbers of the units of all texts, one text after the other, and the number of units of each text."""

    units: Int[np.ndarray, " units"]
    lengths: Int[np.ndarray, " texts"]


class GramTable(NamedTuple):
    """Which text has which grams: a row per text, a column per gram that several texts have, the rarest gram first."""

    matrix: Any  # csr_array of ones; scipy has no types
    sizes: Int[np.ndarray, " texts"]  # number of grams of each text, with grams that no other text has

    def prefixes(self, required: Float[np.ndarray, " texts"], is_used: Bool[np.ndarray, " texts"]) -> Any:
        """Return the table of the rare grams that texts need if they share at least `required` grams, of the texts in use."""
        starts = self.matrix.indptr[:-1]
        found = np.diff(self.matrix.indptr)
        # The small number is for rounding: if 0.8 * 5 is above 4, one gram too few would be searched.
        needed = np.maximum(1, np.ceil(required - 1e-9)).astype(np.int64)
        count = np.where(is_used, self.sizes - needed + 1 - (self.sizes - found), 0)
        order = np.arange(self.matrix.nnz) - np.repeat(starts, found)
        is_rare = order < np.repeat(count, found)
        ends = np.append(0, np.cumsum(is_rare))[self.matrix.indptr]
        indices = self.matrix.indices[is_rare]
        return csr_array((np.ones(len(indices), np.int32), indices, ends), shape=self.matrix.shape)

    def shared(self, pairs: Pairs) -> Int[np.ndarray, " pairs"]:
        """Return the number of grams that the texts of each pair share."""
        parts = [np.zeros(0, np.int64)]
        for start in range(0, len(pairs[0]), 100_000):
            first, second = (side[start : start + 100_000] for side in pairs)
            parts.append(self.matrix[first].multiply(self.matrix[second]).sum(axis=1))
        return np.concatenate(parts)


def gram_table(texts: EncodedTexts, size: int, *, is_counted: bool = False) -> GramTable:
    """Return the grams of `size` units of each text. With `is_counted`, repetitions in a text are grams of their own."""
    total = len(texts.lengths)
    ends = np.repeat(np.cumsum(texts.lengths), texts.lengths)
    at = np.flatnonzero(np.arange(len(texts.units)) + size <= ends)
    text = np.repeat(np.arange(total), texts.lengths)[at]
    grams = texts.units[at]
    vocabulary = int(texts.units.max(initial=0)) + 1
    for offset in range(1, size):
        grams = np.unique(grams * vocabulary + texts.units[at + offset], return_inverse=True)[1]
    order = np.lexsort((grams, text))
    text, grams = text[order], grams[order]
    is_first = np.append(True, (np.diff(text) != 0) | (np.diff(grams) != 0))[: len(grams)]
    if is_counted:
        position = np.arange(len(grams))
        repetition = position - np.maximum.accumulate(np.where(is_first, position, 0))
        grams = grams * (int(repetition.max(initial=0)) + 1) + repetition
    else:
        text, grams = text[is_first], grams[is_first]
    grams = np.unique(grams, return_inverse=True)[1]
    frequency = np.bincount(grams)
    rank = np.empty(len(frequency), np.int64)
    rank[np.argsort(frequency, kind="stable")] = np.arange(len(frequency))
    sizes = np.bincount(text, minlength=total)
    is_shared = frequency[grams] > 1
    text, columns = text[is_shared], rank[grams[is_shared]]
    columns -= int((frequency == 1).sum())
    order = np.lexsort((columns, text))
    indptr = np.append(0, np.cumsum(np.bincount(text, minlength=total)))
    shape = (total, max(1, int((frequency > 1).sum())))
    return GramTable(csr_array((np.ones(len(text), np.int32), columns[order], indptr), shape=shape), sizes)


def pairs_with_common_grams(first: Any, second: Any, rows: Indices, columns: Indices) -> Iterator[Pairs]:
    """Yield the pairs of a text of `rows` in the first table and of `columns` in the second that share a gram, in batches."""
    left, right = first[rows], second[columns]
    costs = left @ np.asarray(right.sum(axis=0)).ravel()
    batches = np.cumsum(costs) // MAX_BATCH_PAIRS
    transposed = right.T.tocsr()
    for batch in np.unique(batches[costs > 0]):
        chosen = np.flatnonzero(batches == batch)
        product = (left[chosen] @ transposed).tocoo()
        yield rows[chosen[product.row]], columns[product.col]
