"""Copies and near copies: texts that say the same, or nearly, as another one of another group.

What is a copy is one rule for all: for the split's parts, the gate's findings, canaries and deduplicated training.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from byheart.core.types import Examples

SHINGLE_WORDS = 5  # words, the unit of near copies (Lee et al., ACL 2022, arXiv 2107.06499, take five tokens)


class DistinctPositions(NamedTuple):
    """Positions of texts without a copy in another group, and how many copies were taken out."""

    positions: list[int]
    exact_copies: int
    near_copies: int


def distinct_positions(examples: Examples, positions: Sequence[int], near_duplicate: float) -> DistinctPositions:
    """Return the positions without those whose text is a copy or near copy of an earlier one in another group.

    Two texts that overlap enough share at least one of each one's rarest shingles, so only these are looked up
    (prefix filtering: Bayardo, Ma, Srikant, WWW 2007). Unlike MinHash it misses no pair.
    """
    told = [normalized_text(examples, i) for i in positions]
    shingled = [shingles(text) for text in told]
    common = Counter(shingle for text in shingled for shingle in text)
    seen: dict[str, dict[str, list[frozenset[str]]]] = {}  # by rare shingle, then by group
    owner: dict[str, str] = {}
    kept: list[int] = []
    exact = near = 0
    for position, words, own in zip(positions, told, shingled, strict=True):
        group = examples.groups[position]
        rarest = sorted(own, key=lambda shingle: (common[shingle], shingle))
        # The small number guards against 0.8 * 5 coming out above 4, which would look up one shingle too few.
        rare = rarest[: len(own) - math.ceil(near_duplicate * len(own) - 1e-9) + 1]
        others = (o for s in rare for g, texts in seen.get(s, {}).items() if g != group for o in texts)
        if owner.setdefault(words, group) != group:
            exact += 1
        elif any(len(own & other) / len(own | other) >= near_duplicate for other in others):
            near += 1
        else:
            kept.append(position)
            for shingle in rare:
                seen.setdefault(shingle, {}).setdefault(group, []).append(own)
    return DistinctPositions(kept, exact, near)


def normalized_text(examples: Examples, position: int) -> str:
    """Return the words by which a text is compared, in one case and with single spaces."""
    scored = examples.texts.scored[position].casefold().split()
    if len(scored) < SHINGLE_WORDS:
        scored = examples.texts.prompts[position].casefold().split() + scored
    return " ".join(scored)


def shingles(text: str, size: int = SHINGLE_WORDS) -> frozenset[str]:
    """Return the text's runs of so many words, without punctuation; all its words where there are fewer."""
    words = re.findall(r"\w+", text) or [text]
    return frozenset(" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))
