"""Draw whole groups of texts: every role of a split is drawn in this way, so that all roles have one distribution of group sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def has_groups(groups: Sequence[str]) -> bool:
    """Return whether any group has more than one text."""
    return len(set(groups)) < len(groups)


def shuffled_groups(groups: Sequence[str], positions: Iterable[int], rng: np.random.Generator) -> list[list[int]]:
    """Return the positions of each group, with the groups in random order."""
    by_group: dict[str, list[int]] = {}
    for position in positions:
        by_group.setdefault(groups[position], []).append(position)
    ordered = list(by_group.values())
    return [ordered[i] for i in rng.permutation(len(ordered))]


def draw_groups(groups: list[list[int]], count: int | None, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Remove groups from the end of the list until they have `count` texts (None: all); return their texts, and what is left over.

    If the last group has more texts than are missing, a random subset of it is drawn, and its other texts are left over.
    Fewer than `count` texts are returned if the groups have fewer.
    """
    drawn: list[int] = []
    left_over: list[int] = []
    while groups and (count is None or len(drawn) < count):
        group = groups.pop()
        missing = len(group) if count is None else count - len(drawn)
        if missing < len(group):
            subset = random_subset(group, missing, rng)
            left_over = sorted(set(group) - set(subset))
            group = subset
        drawn += group
    return drawn, left_over


def random_subset(positions: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """Return `count` of the positions, sampled uniformly without replacement, in their original order."""
    return [positions[i] for i in sorted(rng.choice(len(positions), count, replace=False))]
