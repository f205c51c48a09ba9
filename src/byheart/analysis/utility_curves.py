"""Leakage at equal utility: a number along a method's epochs, read where the method reaches a given perplexity.

Between two epochs AUC and the logarithm of perplexity are taken as linear. Nothing is extrapolated: a method that never
reaches a perplexity has no number there. Of several crossings the first counts, since training might have stopped there.

The interval is a bootstrap of both sets of texts, apart: the audited ones by whole groups, members and non-members apart
(A. Davison, D. Hinkley, Bootstrap Methods and their Application, 1997, section 3.8), the validation texts one by one. All
methods and epochs see the same draws, so differences between methods are paired. How hard the drawn validation texts are
moves every perplexity alike, so the level moves with the untuned model's: what is held equal is the perplexity as a share
of the untuned one. A draw that does not reach it takes the epoch that comes nearest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.types import Row, ScoreSet, TextLosses
from byheart.stats.intervals import bootstrap_weights
from byheart.stats.simultaneous import groups_or_ids

DRAWS = 1000


class Step(NamedTuple):
    """One epoch of one cell under one attack: what it leaks, and what it is good for."""

    leak: Row
    use: Row


class Place(NamedTuple):
    """Where along the epochs a path meets a level: `share` of the way from `epoch` to the next, by position in the path."""

    epoch: Int[np.ndarray, " draws"]
    share: Float[np.ndarray, " draws"]

    def read(self, values: Float[np.ndarray, "draws epochs"]) -> Float[np.ndarray, " draws"]:
        """Values there, along a path of at least two epochs."""
        draws = np.arange(len(values))
        return (1 - self.share) * values[draws, self.epoch] + self.share * values[draws, self.epoch + 1]


def meets(perplexities: Float[np.ndarray, " epochs"], level: float) -> bool:
    """Whether a path reaches a perplexity, from whichever side."""
    return bool(perplexities.min() <= level <= perplexities.max())


def meeting(perplexities: Float[np.ndarray, "draws epochs"], levels: Float[np.ndarray, " draws"]) -> Place:
    """First place at which each path meets its level, or the epoch that comes nearest where it does not."""
    path, level = np.log(perplexities), np.log(levels)[:, None]
    before, after = path[:, :-1], path[:, 1:]
    crosses = (np.minimum(before, after) <= level) & (level <= np.maximum(before, after))
    epoch = crosses.argmax(axis=1)
    draws = np.arange(len(path))
    start, step = before[draws, epoch], (after - before)[draws, epoch]
    share = np.divide(level[:, 0] - start, step, out=np.zeros(len(path)), where=step != 0)
    nearest = np.abs(path - level).argmin(axis=1)
    last = path.shape[1] - 2
    missed = ~crosses.any(axis=1)
    epoch = np.where(missed, np.minimum(nearest, last), epoch)
    share = np.where(missed, (nearest > last).astype(np.float64), share)
    return Place(epoch, share)


def drawn_perplexities(losses: TextLosses, weights: Int[np.ndarray, "draws texts"]) -> Float[np.ndarray, " draws"]:
    """Perplexity of each draw of validation texts."""
    return np.exp((weights @ losses.nats) / (weights @ losses.tokens))


class Drawn(NamedTuple):
    """How often each text of a side is drawn, a text's draws together: whole numbers, as floats for their product's sake."""

    members: Float[np.ndarray, "members draws"]
    nonmembers: Float[np.ndarray, "nonmembers draws"]


def by_side(weights: Int[np.ndarray, "draws texts"], membership: Bool[np.ndarray, " texts"]) -> Drawn:
    """Part draws of audited texts by side, once for all the scores that are asked for on them."""
    drawn = np.ascontiguousarray(weights.T, dtype=np.float64)
    return Drawn(drawn[membership], drawn[~membership])


def drawn_aucs(held: ScoreSet, drawn: Drawn) -> Float[np.ndarray, " draws"]:
    """AUC of each draw of audited texts, ties counting half. All sums are of whole numbers, and so exact in any order."""
    members, others = held.scores[held.members], held.scores[~held.members]
    order = np.argsort(others)
    below = np.zeros((len(others) + 1, drawn.nonmembers.shape[1]))
    np.cumsum(drawn.nonmembers[order], axis=0, out=below[1:])
    left, right = (np.searchsorted(others[order], members, side) for side in ("left", "right"))
    first = np.einsum("ij,ij->j", drawn.members, below[left])  # with no product of the two in memory
    last = first if np.array_equal(left, right) else np.einsum("ij,ij->j", drawn.members, below[right])
    return (first + last) / 2 / (drawn.members.sum(axis=0) * below[-1])


def validation_weights(texts: int, generator: np.random.Generator) -> Int[np.ndarray, "draws texts"]:
    """How often each validation text is drawn; the first draw is the texts themselves."""
    drawn = generator.multinomial(texts, np.full(texts, 1 / texts), size=DRAWS)
    return np.vstack([np.ones((1, texts), dtype=drawn.dtype), drawn])


def audited_weights(held: ScoreSet, generator: np.random.Generator) -> Int[np.ndarray, "draws texts"]:
    """How often each audited text is drawn, by whole groups; the first draw is the texts themselves."""
    membership: Bool[np.ndarray, " texts"] = held.members
    drawn = bootstrap_weights(membership, groups_or_ids(held), resamples=DRAWS, generator=generator)
    return np.vstack([np.ones((1, len(membership)), dtype=drawn.dtype), drawn])


def perplexities(rows: Iterable[Row]) -> dict[tuple[str, int | None], Row]:
    """Return the rows of validation perplexity by cell and epoch."""
    return {(r.cell, r.epoch): r for r in rows if r.metric == "perplexity" and not r.attack}


def seed_paths(rows: Iterable[Row], use: Mapping[tuple[str, int | None], Row]) -> list[list[Step]]:
    """Return each seed's path through the epochs whose perplexity is known; a path has two at least."""
    found: dict[int, list[Step]] = {}
    for row in sorted(rows, key=lambda r: (r.seed, r.epoch or 0)):
        if (row.cell, row.epoch) in use:
            found.setdefault(row.seed, []).append(Step(row, use[row.cell, row.epoch]))
    return [path for path in found.values() if len(path) > 1]


def levels(held: Mapping[str, Sequence[Sequence[Step]]]) -> list[float]:
    """Return the lowest perplexities that all methods reach, and that at least half of them (two or more) reach.

    Methods that never fall below the untuned model are not asked.
    """
    best: list[float] = []
    for seeds in held.values():
        lowest = max(min(s.use.value for s in path if s.use.epoch) for path in seeds)
        if lowest < min(path[0].use.value for path in seeds):
            best.append(lowest)
    if len(best) < 2:  # noqa: PLR2004 - one method has nothing to be compared with
        return []
    half = sorted(best)[max(2, math.ceil(len(best) / 2)) - 1]
    return list(dict.fromkeys((max(best), half)))


def reaches(path: Sequence[Step], level: float) -> bool:
    """Whether a path reaches a perplexity."""
    return meets(values(s.use.value for s in path), level)


def along(path: Sequence[Step], level: float) -> tuple[float, float, float]:
    """Return a number and the ends of its interval, read along the path where it first meets a perplexity."""
    place = meeting(values(s.use.value for s in path)[None], np.array([level]))
    told = [
        [(s.leak.value if end is None else end) for s, end in zip(path, ends, strict=True)]
        for ends in ([None] * len(path), [s.leak.low for s in path], [s.leak.high for s in path])
    ]
    value, low, high = (float(place.read(values(t)[None])[0]) for t in told)
    return value, low, high


def values(numbers: Iterable[float]) -> Float[np.ndarray, " epochs"]:
    """Return a path's numbers as an array."""
    return np.array(list(numbers), dtype=np.float64)
