"""A piece: rates counted over many seeded studies."""

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
    """Simulated studies of one `population` with `texts` texts per class. `study` returns the outcomes of one study by name."""

    table: str
    population: str
    texts: int
    study: Study
    cost: float = 1.0  # in studies: a piece with cost 10 has a tenth of the studies

    @property
    def name(self) -> str:
        """The unique name of the piece."""
        return f"{self.table} | {self.population} | {self.texts}"

    def counted(self, number: int) -> dict[str, int]:
        """Return the count of each outcome in one lot of studies. The piece's name and the lot's number are the seed."""
        chance = np.random.default_rng([zlib.crc32(self.name.encode()), number])
        found = [self.study(chance) for _ in range(self.lot)]
        return {name: sum(bool(one[name]) for one in found) for name in found[0]}

    @property
    def lot(self) -> int:
        """Number of studies in a lot."""
        return max(1, round(LOT / self.cost))


def may_be(count: int, repeats: int, low: float, high: float) -> bool:
    """Whether a rate between low and high can explain a count; false once in 10,000 times if the rate is in between."""
    least, most = clopper_pearson(float(count), float(repeats), confidence=0.9999)
    return bool(least <= high and most >= low)
