"""Whether a store has many results, by one listing of a stage's folder in place of a look at each result.

A look at each of T results by each of N workers is N * T questions to the file system, which a network answers slowly.
"""

from __future__ import annotations

import os
from collections import Counter

from byheart.store.store import Store

LOOKS_BEFORE_LISTING = 100
"""Looks at a stage before it is listed: a listing of 10,000 results takes about as long (benchmarks/tasks.py)."""


class ListedResults:
    """The results of a store, as known when each stage was last listed.

    A result that was made later may be missing. A listed folder without its recipe.json, as an interrupted copy leaves it, counts
    as a result; code that reads the result looks for itself.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._looks: Counter[str] = Counter()
        self._keys: dict[str, set[str]] = {}

    def has(self, stage: str, key: str) -> bool:
        """Whether a result existed at the last listing of its stage, or exists if the stage is not listed yet."""
        if (keys := self._keys.get(stage)) is not None:
            return key in keys
        self._looks[stage] += 1
        if self._looks[stage] <= LOOKS_BEFORE_LISTING:
            return self.store.has(stage, key)
        keys = self._keys[stage] = _names(self.store, stage)
        return key in keys

    def __len__(self) -> int:
        """Return the number of listed results."""
        return sum(map(len, self._keys.values()))

    def forget(self) -> None:
        """Forget the listings, so that the next questions see results of other workers."""
        self._looks.clear()
        self._keys.clear()


def _names(store: Store, stage: str) -> set[str]:
    try:
        with os.scandir(store.root / stage) as entries:  # no `stat` of each entry
            return {entry.name for entry in entries}
    except FileNotFoundError:
        return set()
