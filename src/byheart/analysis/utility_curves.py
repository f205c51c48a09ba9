"""Leakage at equal utility: the AUC along a method's observed states, read where the method reaches a given perplexity.

A path starts at the base model, or at the initialized method if its outputs differ. Between two observed states, AUC and
the logarithm of perplexity are interpolated linearly. A model with the interpolated numbers was never observed. So the AUC
is only assumed to lie between the AUCs of the two states, and the interval covers the intervals of both. A level between
states whose AUCs differ by more than the half width of the interval has no value: the path is not observed closely enough.
There is no extrapolation: a method that never reaches a perplexity has no value there. The first of several crossings
counts, because training could stop there.

The interval is a bootstrap that resamples both sets of texts independently: audited texts by whole groups, stratified by
class (A. Davison, D. Hinkley, Bootstrap Methods and their Application, 1997, section 3.8), and validation texts one by one.
All methods and states share the draws, so differences between methods are paired. The difficulty of the drawn validation
texts affects every perplexity alike, so the level is a fixed fraction of the base model's perplexity. A draw that does not
reach the level uses its nearest state. A difference between methods is the smallest one that the states around the level
allow.
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
NOT_REACHED = "not reached"
NOT_OBSERVED_CLOSELY = "not observed closely"
AT_STATE = 1e-9
"""Share of the way between two states at which a level is taken for a state's own perplexity."""

State = tuple[str, float | None, bool]
"""Cell, epoch, and whether the method is initialized but not trained."""


class PathPoint(NamedTuple):
    """Leakage and perplexity of one state of a cell under one attack, and the perplexity of the cell's base model."""

    leakage: Row
    perplexity: Row
    base_perplexity: Row | None = None


class Interpolation(NamedTuple):
    """A number between two observed states, with the ends of an interval that covers the intervals of both states.

    `least` and `most` are the numbers of the two states. `half_width` is half the width of the interpolated interval.
    """

    value: float
    low: float
    high: float
    least: float
    most: float
    half_width: float


class PathPosition(NamedTuple):
    """Position along a path: `share` of the way from `epoch` (a position in the path) to the next epoch."""

    epoch: Int[np.ndarray, " draws"]
    share: Float[np.ndarray, " draws"]

    def read(self, values: Float[np.ndarray, "draws epochs"]) -> Float[np.ndarray, " draws"]:
        """Values interpolated at the position, along a path of at least two epochs."""
        draws = np.arange(len(values))
        return (1 - self.share) * values[draws, self.epoch] + self.share * values[draws, self.epoch + 1]


def is_level_in_range(perplexities: Float[np.ndarray, " epochs"], level: float) -> bool:
    """Whether a perplexity is within the range of a path."""
    return bool(perplexities.min() <= level <= perplexities.max())


def first_crossing(
    perplexities: Float[np.ndarray, "draws epochs"], levels: Float[np.ndarray, " draws"]
) -> PathPosition:
    """First position at which each path crosses its level; the nearest epoch if it does not."""
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
    """How often each text of a class is drawn, one line per text; integers stored as floats for fast products."""

    members: Float[np.ndarray, "members draws"]
    nonmembers: Float[np.ndarray, "nonmembers draws"]


def counts_by_class(weights: Int[np.ndarray, "draws texts"], membership: Bool[np.ndarray, " texts"]) -> BootstrapCounts:
    """Split the draws of audited texts by class, once for all scores of these texts."""
    counts = np.ascontiguousarray(weights.T, dtype=np.float64)
    return BootstrapCounts(counts[membership], counts[~membership])


def bootstrap_aucs(score_set: ScoreSet, counts: BootstrapCounts) -> Float[np.ndarray, " draws"]:
    """AUC of each draw of audited texts; ties count half. All sums are of integers, so they are exact in any order."""
    members, nonmembers = score_set.scores[score_set.members], score_set.scores[~score_set.members]
    order = np.argsort(nonmembers)
    below = np.zeros((len(nonmembers) + 1, counts.nonmembers.shape[1]))
    np.cumsum(counts.nonmembers[order], axis=0, out=below[1:])
    left, right = (np.searchsorted(nonmembers[order], members, side) for side in ("left", "right"))
    wins = np.einsum("ij,ij->j", counts.members, below[left])  # does not store the elementwise product
    wins_and_ties = wins if np.array_equal(left, right) else np.einsum("ij,ij->j", counts.members, below[right])
    return (wins + wins_and_ties) / 2 / (counts.members.sum(axis=0) * below[-1])


def validation_weights(texts: int, generator: np.random.Generator) -> Int[np.ndarray, "draws texts"]:
    """How often each validation text is drawn; the first draw contains each text once."""
    weights = generator.multinomial(texts, np.full(texts, 1 / texts), size=BOOTSTRAP_DRAWS)
    return np.vstack([np.ones((1, texts), dtype=weights.dtype), weights])


def audited_weights(score_set: ScoreSet, generator: np.random.Generator) -> Int[np.ndarray, "draws texts"]:
    """How often each audited text is drawn, by whole groups; the first draw contains each text once."""
    membership: Bool[np.ndarray, " texts"] = score_set.members
    weights = bootstrap_weights(membership, groups_or_ids(score_set), resamples=BOOTSTRAP_DRAWS, generator=generator)
    return np.vstack([np.ones((1, len(membership)), dtype=weights.dtype), weights])


def perplexity_by_state(rows: Iterable[Row]) -> dict[State, Row]:
    """Return the rows of validation perplexity by state."""
    return {(r.cell, r.epoch, r.initialized): r for r in rows if r.metric == "perplexity" and not r.attack}


def seed_paths(rows: Iterable[Row], perplexities: Mapping[State, Row]) -> list[list[PathPoint]]:
    """Return each seed's path through the states with a perplexity, without paths of a single state.

    A path starts at the initialized method if it was observed, else at the base model.
    """
    paths: dict[int, list[PathPoint]] = {}
    for row in sorted(rows, key=lambda r: (r.seed, r.epoch or 0, r.initialized)):
        if (row.cell, row.epoch, row.initialized) in perplexities:
            perplexity = perplexities[row.cell, row.epoch, row.initialized]
            path = paths.setdefault(row.seed, [])
            if row.initialized:
                path.clear()  # of the base model
            path.append(PathPoint(row, perplexity, perplexities.get((row.cell, 0, False))))
    return [path for path in paths.values() if len(path) > 1]


def common_perplexities(paths_by_method: Mapping[str, Sequence[Sequence[PathPoint]]]) -> list[float]:
    """Return the lowest perplexity that all methods reach, and the lowest that half of them (at least two) reach.

    Ignores methods that never improve on the perplexity where they start.
    """
    best: list[float] = []
    for seeds in paths_by_method.values():
        lowest = max(min(s.perplexity.value for s in path if s.perplexity.epoch) for path in seeds)
        if lowest < min(path[0].perplexity.value for path in seeds):
            best.append(lowest)
    if len(best) < 2:  # noqa: PLR2004 - a comparison needs two methods
        return []
    half_level = sorted(best)[max(2, math.ceil(len(best) / 2)) - 1]
    return list(dict.fromkeys((max(best), half_level)))


def has_reached_level(path: Sequence[PathPoint], level: float) -> bool:
    """Whether a path reaches a perplexity."""
    return is_level_in_range(path_values(s.perplexity.value for s in path), level)


def estimate_at_level(path: Sequence[PathPoint], level: float) -> Interpolation:
    """Return the number where the path first crosses a perplexity."""
    position = first_crossing(path_values(s.perplexity.value for s in path)[None], np.array([level]))
    values = path_values(s.leakage.value for s in path)
    lows = path_values(s.leakage.value if s.leakage.low is None else s.leakage.low for s in path)
    highs = path_values(s.leakage.value if s.leakage.high is None else s.leakage.high for s in path)
    value, low, high = (float(position.read(v[None])[0]) for v in (values, lows, highs))
    share, before = float(position.share[0]), int(position.epoch[0])
    around = [before] if share < AT_STATE else [before + 1] if share > 1 - AT_STATE else [before, before + 1]
    return Interpolation(
        value,
        float(lows[around].min()),
        float(highs[around].max()),
        float(values[around].min()),
        float(values[around].max()),
        (high - low) / 2,
    )


def mean_interpolation(interpolations: Sequence[Interpolation]) -> Interpolation:
    """Return the mean over seeds."""
    return Interpolation(*(float(np.mean(numbers)) for numbers in zip(*interpolations, strict=True)))


def is_observed_closely(interpolation: Interpolation) -> bool:
    """Whether the two states around a level differ by no more than the half width of the interval."""
    return interpolation.most - interpolation.least <= interpolation.half_width


def path_values(numbers: Iterable[float]) -> Float[np.ndarray, " epochs"]:
    """Return the values of a path as an array."""
    return np.array(list(numbers), dtype=np.float64)
