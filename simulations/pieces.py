"""A piece: one rate that is counted over many seeded studies, and what it should be."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from byheart.stats.intervals import clopper_pearson

LOT = 400
Study = Callable[[np.random.Generator], Mapping[str, bool]]


@dataclass(frozen=True)
class Piece:
    """Simulated studies of one `population` with so many `texts` a side. `study` tells of one what held, by name."""

    table: str
    population: str
    texts: int
    study: Study
    cost: float = 1.0  # in studies: of a piece that costs 10, a tenth as many are simulated

    @property
    def name(self) -> str:
        """What tells the piece from any other."""
        return f"{self.table} | {self.population} | {self.texts}"

    def counted(self, number: int) -> dict[str, int]:
        """Return how often each thing held in one lot of studies. The piece's name and the lot's number are the seed."""
        chance = np.random.default_rng([zlib.crc32(self.name.encode()), number])
        found = [self.study(chance) for _ in range(self.lot)]
        return {name: sum(bool(one[name]) for one in found) for name in found[0]}

    @property
    def lot(self) -> int:
        """Studies that are simulated at once."""
        return max(1, round(LOT / self.cost))


def may_be(count: int, repeats: int, low: float, high: float) -> bool:
    """Whether a count is one that a rate between low and high gives; wrongly refused once in 10,000 times."""
    least, most = clopper_pearson(float(count), float(repeats), confidence=0.9999)
    return bool(least <= high and most >= low)
