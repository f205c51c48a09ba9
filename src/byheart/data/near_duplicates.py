"""Exact and near duplicates: texts with the same words as a text of another group, or almost the same.

One definition for splits, the split check, canaries and deduplicated training. `similarity` has the definition,
`distinct_positions` a search that misses no pair.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from byheart.core.split import Examples
from byheart.data.gram_overlap import EncodedTexts, Indices, Pairs, gram_table, pairs_with_common_grams
from byheart.data.text_units import is_written_without_spaces, text_units

SHINGLE_WORDS = 5  # near duplicates share shingles of five words (Lee et al., ACL 2022, arXiv 2107.06499: five tokens)
CONTAINED_GRAM_UNITS = 3
MIN_CONTAINED_UNITS = 10
CHUNK = 2000
"""Texts that are compared with all earlier ones at once."""

NEAR_DUPLICATES_REVISION = 1
"""Raise this number when other texts count as near duplicates: it is in the keys of splits."""


class DistinctPositions(NamedTuple):
    """Positions of texts without an earlier duplicate in another group, and the numbers of removed duplicates."""

    positions: list[int]
    exact_copies: int
    near_copies: int


def similarity(first: str, second: str, *, with_containment: bool = True) -> float:
    """Return how similar two texts are, from 0 to 1 (the same words in the same order): the largest of three shares.

    - Alignment: the longest common subsequence of units, as a share of all units of both (aligned units count once).
      It is the Jaccard index of the aligned units. One changed unit of n gives (n - 1) / (n + 1).
    - Shingles: Jaccard index of the sets of runs of five units.
    - Containment: share of the runs of three units of one text that the other has, if the text has at least ten units.

    A unit is a word, or a character of a script without spaces (`text_units`).
    """
    one, other = text_units(first), text_units(second)
    aligned = int(LCSseq.similarity(one, other))
    shares = [aligned / (len(one) + len(other) - aligned)]
    sets = [_grams(units, SHINGLE_WORDS) for units in (one, other)]
    shares.append(len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1])))
    if with_containment:
        grams = [_grams(units, CONTAINED_GRAM_UNITS) for units in (one, other)]
        common = len(grams[0] & grams[1])
        sizes = [len(g) for g, units in zip(grams, (one, other), strict=True) if len(units) >= MIN_CONTAINED_UNITS]
        shares += [common / size for size in sizes]
    return max(shares)


def _grams(units: Sequence[str], size: int) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(units[i : i + size]) for i in range(len(units) - size + 1))


def distinct_positions(
    examples: Examples, positions: Sequence[int], near_duplicate: float, *, with_containment: bool = True
) -> DistinctPositions:
    """Return the positions without exact and near duplicates of earlier texts in other groups.

    A near duplicate has a `similarity` of at least `near_duplicate` to an earlier text that is not removed itself.
    """
    group_of_text: dict[str, str] = {}
    texts: list[str] = []
    uncopied: list[int] = []
    for position in positions:
        text = normalized_text(examples, position)
        if group_of_text.setdefault(text, examples.groups[position]) == examples.groups[position]:
            uncopied.append(position)
            texts.append(text)
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(examples.groups[p], len(numbers)) for p in uncopied], np.int64)
    is_distinct = _distinct(texts, groups, near_duplicate, with_containment=with_containment)
    distinct = [p for p, is_kept in zip(uncopied, is_distinct, strict=True) if is_kept]
    return DistinctPositions(distinct, len(positions) - len(uncopied), len(uncopied) - len(distinct))


def _distinct(
    texts: Sequence[str], groups: Int[np.ndarray, " texts"], threshold: float, *, with_containment: bool
) -> list[bool]:
    """Return whether each text has no near duplicate among the earlier texts of other groups that are distinct."""
    search = NearDuplicateSearch(texts, threshold, with_containment=with_containment)
    is_distinct = np.ones(len(texts), dtype=bool)
    for start in range(0, len(texts), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(texts)))
        earlier = [np.flatnonzero(is_distinct[:start]), rows]
        near: dict[int, list[int]] = {}
        for row, column in search.pairs(rows, np.concatenate(earlier), groups):
            near.setdefault(row, []).append(column)
        for row in sorted(near):
            is_distinct[row] = not is_distinct[near[row]].any()
    return is_distinct.tolist()


class NearDuplicateSearch:
    """Finds the pairs of texts whose `similarity` is at least a threshold: all of them, without comparing all pairs.

    Each share has grams that two similar texts must have in common. Let t be the threshold and m the units of a text.

    - Shingles, containment: a Jaccard index or a share of at least t is at least t of the text's own grams.
    - Alignment: if t is above 0.5, the texts share at least (2t - 1) m - 1 of their pairs of consecutive units, counted with
      repetitions. Each unit that is not aligned ends at most two pairs of its own text and, between two aligned units, one
      of the other text. An alignment of at least t leaves the most units of the text unaligned, (1 - t) m, if the other
      text is aligned wholly, and no mixture ends more than 2 (1 - t) m of its m - 1 pairs. For short texts or a lower
      t this number is below 1: then single units are compared, of which at least t m are aligned.
    """

    def __init__(self, texts: Sequence[str], threshold: float, *, with_containment: bool = True) -> None:
        encoded, self.strings = _encode([text_units(text) for text in texts])
        self.threshold = threshold
        self.lengths = encoded.lengths
        self.shingles = gram_table(encoded, SHINGLE_WORDS)
        self.shingle_prefixes = self.shingles.prefixes(threshold * self.shingles.sizes, np.ones(len(texts), dtype=bool))
        min_paired = 2 / (2 * threshold - 1) if threshold > 0.5 else np.inf  # noqa: PLR2004 - see the class
        pairs, units = gram_table(encoded, 2, is_counted=True), gram_table(encoded, 1, is_counted=True)
        self.aligned_prefixes = (
            pairs.prefixes((2 * threshold - 1) * self.lengths - 1, self.lengths >= min_paired),
            units.prefixes(threshold * self.lengths, self.lengths < min_paired / threshold),
        )
        self.grams = gram_table(encoded, CONTAINED_GRAM_UNITS) if with_containment else None
        if self.grams:
            is_long = self.lengths >= MIN_CONTAINED_UNITS
            self.gram_prefixes = self.grams.prefixes(threshold * self.grams.sizes, is_long)

    def pairs(self, rows: Indices, columns: Indices, groups: Indices) -> Iterator[tuple[int, int]]:
        """Yield the near duplicates of different groups, the later text first; the same pair possibly more than once."""
        for find in (self._by_shingles, self._aligned, self._contained):
            for first, second in find(rows, columns, groups):
                yield from zip(first.tolist(), second.tolist(), strict=True)

    def _by_shingles(self, rows: Indices, columns: Indices, groups: Indices) -> Iterator[Pairs]:
        prefixes, sizes = self.shingle_prefixes, self.shingles.sizes
        for pairs in _compared(pairs_with_common_grams(prefixes, prefixes, rows, columns), groups):
            shared = self.shingles.shared(pairs)
            union = sizes[pairs[0]] + sizes[pairs[1]] - shared
            yield _where(pairs, shared / union >= self.threshold)

    def _aligned(self, rows: Indices, columns: Indices, groups: Indices) -> Iterator[Pairs]:
        for prefixes in self.aligned_prefixes:
            for candidates in _compared(pairs_with_common_grams(prefixes, prefixes, rows, columns), groups):
                first, second = (self.lengths[side] for side in candidates)
                is_close = np.minimum(first, second) >= self.threshold * np.maximum(first, second) - 1e-9
                pairs = _where(candidates, is_close)
                if not len(pairs[0]):
                    continue
                strings = ([self.strings[i] for i in side] for side in pairs)
                aligned = process.cpdist(*strings, scorer=LCSseq.similarity, dtype=np.int32)
                union = self.lengths[pairs[0]] + self.lengths[pairs[1]] - aligned
                yield _where(pairs, aligned / union >= self.threshold)

    def _contained(self, rows: Indices, columns: Indices, groups: Indices) -> Iterator[Pairs]:
        if not self.grams:
            return
        prefixes, matrix = self.gram_prefixes, self.grams.matrix
        for side, tables in enumerate(((prefixes, matrix), (matrix, prefixes))):
            for pairs in _compared(pairs_with_common_grams(*tables, rows, columns), groups):
                share = self.grams.shared(pairs) / self.grams.sizes[pairs[side]]
                yield _where(pairs, share >= self.threshold)


def _compared(candidates: Iterator[Pairs], groups: Indices) -> Iterator[Pairs]:
    """Yield the pairs of a text and an earlier text of another group."""
    for first, second in candidates:
        yield _where((first, second), (second < first) & (groups[first] != groups[second]))


def _where(pairs: Pairs, is_chosen: Int[np.ndarray, " pairs"]) -> Pairs:
    return pairs[0][is_chosen], pairs[1][is_chosen]


def _encode(texts: Sequence[Sequence[str]]) -> tuple[EncodedTexts, list[str] | list[tuple[int, ...]]]:
    """Return the units as numbers, and each text as a string of one character per unit, or as numbers if there are too many."""
    numbers: dict[str, int] = {}
    rows = [[numbers.setdefault(unit, len(numbers)) for unit in units] for units in texts]
    encoded = EncodedTexts(
        np.array([number for row in rows for number in row], np.int64), np.array([len(row) for row in rows], np.int64)
    )
    if len(numbers) > sys.maxunicode:
        return encoded, [tuple(row) for row in rows]
    return encoded, ["".join(map(chr, row)) for row in rows]


def normalized_text(examples: Examples, position: int) -> str:
    """Return a text's compared words, in lower case and with single spaces; a short completion includes its prompt.

    Short: fewer than five words and fewer than five characters of scripts without spaces.
    """
    scored = examples.texts.scored[position].casefold().split()
    characters = sum(is_written_without_spaces(c) for c in "".join(scored)) if len(scored) < SHINGLE_WORDS else 0
    if max(len(scored), characters) < SHINGLE_WORDS:
        scored = examples.texts.prompts[position].casefold().split() + scored
    return " ".join(scored)


def shingles(text: str, size: int = SHINGLE_WORDS) -> frozenset[str]:
    """Return the text's runs of `size` consecutive units, without punctuation; a shorter text is one run."""
    units = text_units(text)
    return frozenset(" ".join(units[i : i + size]) for i in range(max(1, len(units) - size + 1)))
