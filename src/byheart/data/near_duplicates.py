"""Exact and near duplicates: texts with the same words as a text of another group, or almost the same.

One definition for splits, the split check, canaries and deduplicated training.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from byheart.core.split import Examples

SHINGLE_WORDS = 5  # near duplicates share shingles of five words (Lee et al., ACL 2022, arXiv 2107.06499: five tokens)


class DistinctPositions(NamedTuple):
    """Positions of texts without an earlier duplicate in another group, and the numbers of removed duplicates."""

    positions: list[int]
    exact_copies: int
    near_copies: int


def distinct_positions(examples: Examples, positions: Sequence[int], near_duplicate: float) -> DistinctPositions:
    """Return the positions without exact and near duplicates of earlier texts in other groups.

    Two texts that overlap enough share at least one of each text's rarest shingles, so only these are indexed
    (prefix filtering: Bayardo, Ma, Srikant, WWW 2007). Unlike MinHash it misses no pair.
    """
    texts = [normalized_text(examples, i) for i in positions]
    shingle_sets = [shingles(text) for text in texts]
    frequency = Counter(shingle for shingle_set in shingle_sets for shingle in shingle_set)
    index: dict[str, dict[str, list[frozenset[str]]]] = {}  # shingle sets by rare shingle, then by group
    group_of_text: dict[str, str] = {}
    distinct: list[int] = []
    exact_copies = near_copies = 0
    for position, text, current in zip(positions, texts, shingle_sets, strict=True):
        group = examples.groups[position]
        by_rarity = sorted(current, key=lambda shingle: (frequency[shingle], shingle))
        # The small number is for rounding: if 0.8 * 5 is above 4, one shingle too few would be indexed.
        rare = by_rarity[: len(current) - math.ceil(near_duplicate * len(current) - 1e-9) + 1]
        candidates = (c for s in rare for g, sets in index.get(s, {}).items() if g != group for c in sets)
        if group_of_text.setdefault(text, group) != group:
            exact_copies += 1
        elif any(len(current & other) / len(current | other) >= near_duplicate for other in candidates):
            near_copies += 1
        else:
            distinct.append(position)
            for shingle in rare:
                index.setdefault(shingle, {}).setdefault(group, []).append(current)
    return DistinctPositions(distinct, exact_copies, near_copies)


def normalized_text(examples: Examples, position: int) -> str:
    """Return a text's compared words, in lower case and with single spaces; a short completion includes its prompt."""
    scored = examples.texts.scored[position].casefold().split()
    if len(scored) < SHINGLE_WORDS:
        scored = examples.texts.prompts[position].casefold().split() + scored
    return " ".join(scored)


def shingles(text: str, size: int = SHINGLE_WORDS) -> frozenset[str]:
    """Return the text's shingles of `size` consecutive words, without punctuation; a shorter text is one shingle."""
    words = re.findall(r"\w+", text) or [text]
    return frozenset(" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))
