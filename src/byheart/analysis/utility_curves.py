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

BOOTSTRAP_DRAWS = 1000


class PathPoint(NamedTuple):
    """One epoch of one cell under one attack: what it leaks, and what it is good for."""

    leakage: Row
    perplexity: Row


class PathPosition(NamedTuple):
    """Where along the epochs a path meets a level: `share` of the way from `epoch` to the next, by position in the path."""

    epoch: Int[np.ndarray, " draws"]
    share: Float[np.ndarray, " draws"]

    def read(self, values: Float[np.ndarray, "draws epochs"]) -> Float[np.ndarray, " draws"]:
        """Values there, along a path of at least two epochs."""
        draws = np.arange(len(values))
        return (1 - self.share) * values[draws, self.epoch] + self.share * values[draws, self.epoch + 1]


def is_level_in_range(perplexities: Float[np.ndarray, " epochs"], level: float) -> bool:
    """Whether a path reaches a perplexity, from whichever side."""
    return bool(perplexities.min() <= level <= perplexities.max())


def first_crossing(
    perplexities: Float[np.ndarray, "draws epochs"], levels: Float[np.ndarray, " draws"]
) -> PathPosition:
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
    return PathPosition(epoch, share)


def bootstrap_perplexities(losses: TextLosses, weights: Int[np.ndarray, "draws texts"]) -> Float[np.ndarray, " draws"]:
    """Perplexity of each draw of validation texts."""
    return np.exp((weights @ losses.nats) / (weights @ losses.tokens))


class BootstrapCounts(NamedTuple):
    """How often each text of a side is drawn, a text's draws together: whole numbers, as floats for their product's sake."""

    members: Float[np.ndarray, "members draws"]
    nonmembers: Float[np.ndarray, "nonmembers draws"]


def counts_by_class(weights: Int[np.ndarray, "draws texts"], membership: Bool[np.ndarray, " texts"]) -> BootstrapCounts:
    """Part draws of audited texts by side, once for all the scores that are asked for on them."""
    drawn = np.ascontiguousarray(weights.T, dtype=np.float64)
    return BootstrapCounts(drawn[membership], drawn[~membership])


def bootstrap_aucs(score_set: ScoreSet, counts: BootstrapCounts) -> Float[np.ndarray, " draws"]:
    """AUC of each draw of audited texts, ties counting half. All sums are of whole numbers, and so exact in any order."""
    members, others = score_set.scores[score_set.members], score_set.scores[~score_set.members]
    order = np.argsort(others)
    below = np.zeros((len(others) + 1, counts.nonmembers.shape[1]))
    np.cumsum(counts.nonmembers[order], axis=0, out=below[1:])
    left, right = (np.searchsorted(others[order], members, side) for side in ("left", "right"))
    first = np.einsum("ij,ij->j", counts.members, below[left])  # with no product of the two in memory
    last = first if np.array_equal(left, right) else np.einsum("ij,ij->j", counts.members, below[right])
    return (first + last) / 2 / (counts.members.sum(axis=0) * below[-1])


def validation_weights(texts: int, generator: np.random.Generator) -> Int[np.ndarray, "draws texts"]:
    """How often each validation text is drawn; the first draw is the texts themselves."""
    drawn = generator.multinomial(texts, np.full(texts, 1 / texts), size=BOOTSTRAP_DRAWS)
    return np.vstack([np.ones((1, texts), dtype=drawn.dtype), drawn])


def audited_weights(score_set: ScoreSet, generator: np.random.Generator) -> Int[np.ndarray, "draws texts"]:
    """How often each audited text is drawn, by whole groups; the first draw is the texts themselves."""
    membership: Bool[np.ndarray, " texts"] = score_set.members
    drawn = bootstrap_weights(membership, groups_or_ids(score_set), resamples=BOOTSTRAP_DRAWS, generator=generator)
    return np.vstack([np.ones((1, len(membership)), dtype=drawn.dtype), drawn])


def perplexity_by_cell_and_epoch(rows: Iterable[Row]) -> dict[tuple[str, int | None], Row]:
    """Return the rows of validation perplexity by cell and epoch."""
    return {(r.cell, r.epoch): r for r in rows if r.metric == "perplexity" and not r.attack}


def seed_paths(rows: Iterable[Row], perplexity_by_epoch: Mapping[tuple[str, int | None], Row]) -> list[list[PathPoint]]:
    """Return each seed's path through the epochs whose perplexity is known; a path has two at least."""
    found: dict[int, list[PathPoint]] = {}
    for row in sorted(rows, key=lambda r: (r.seed, r.epoch or 0)):
        if (row.cell, row.epoch) in perplexity_by_epoch:
            found.setdefault(row.seed, []).append(PathPoint(row, perplexity_by_epoch[row.cell, row.epoch]))
    return [path for path in found.values() if len(path) > 1]


def common_perplexities(paths_by_method: Mapping[str, Sequence[Sequence[PathPoint]]]) -> list[float]:
    """Return the lowest perplexities that all methods reach, and that at least half of them (two or more) reach.

    Methods that never fall below the untuned model are not asked.
    """
    best: list[float] = []
    for seeds in paths_by_method.values():
        lowest = max(min(s.perplexity.value for s in path if s.perplexity.epoch) for path in seeds)
        if lowest < min(path[0].perplexity.value for path in seeds):
            best.append(lowest)
    if len(best) < 2:  # noqa: PLR2004 - one method has nothing to be compared with
        return []
    half = sorted(best)[max(2, math.ceil(len(best) / 2)) - 1]
    return list(dict.fromkeys((max(best), half)))


def has_reached_level(path: Sequence[PathPoint], level: float) -> bool:
    """Whether a path reaches a perplexity."""
    return is_level_in_range(path_values(s.perplexity.value for s in path), level)


def estimate_at_level(path: Sequence[PathPoint], level: float) -> tuple[float, float, float]:
    """Return a number and the ends of its interval, read along the path where it first meets a perplexity."""
    place = first_crossing(path_values(s.perplexity.value for s in path)[None], np.array([level]))
    told = [
        [(s.leakage.value if end is None else end) for s, end in zip(path, ends, strict=True)]
        for ends in ([None] * len(path), [s.leakage.low for s in path], [s.leakage.high for s in path])
    ]
    value, low, high = (float(place.read(path_values(t)[None])[0]) for t in told)
    return value, low, high


def path_values(numbers: Iterable[float]) -> Float[np.ndarray, " epochs"]:
    """Return a path's numbers as an array."""
    return np.array(list(numbers), dtype=np.float64)
