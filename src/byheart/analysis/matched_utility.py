"""Leakage of each method at the same perplexity, read along its path through the epochs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from byheart.analysis import labels
from byheart.analysis.comparisons import ScoreLookup, auc_rows
from byheart.analysis.utility_curves import (
    NOT_OBSERVED_CLOSELY,
    NOT_REACHED,
    PathPoint,
    audited_weights,
    bootstrap_aucs,
    bootstrap_perplexities,
    counts_by_class,
    estimate_at_level,
    first_crossing,
    has_reached_level,
    is_observed_closely,
    mean_interpolation,
    perplexity_by_state,
    seed_paths,
    validation_weights,
)
from byheart.core.types import Estimate, Row, TextLosses
from byheart.stats.intervals import TAIL

LossLookup = Callable[[Row], TextLosses | None]
Made = TypeVar("Made")


class LeakageAtPerplexity(NamedTuple):
    """A method's AUC at a perplexity: the estimate, and one AUC per bootstrap draw (empty if losses are not stored).

    `least` and `most` are the AUCs of the observed states around the perplexity, between which the AUC lies.
    """

    estimate: Estimate
    draws: Float[np.ndarray, " draws"]
    least: float
    most: float


def paths_by_attack_and_method(rows: Sequence[Row]) -> dict[str, dict[str, list[list[PathPoint]]]]:
    """Return each seed's path through the states with AUC and perplexity, by attack and method."""
    measured = auc_rows(rows)
    perplexities = perplexity_by_state(rows)
    variants, attacks = labels.variants(rows), labels.attacks(measured)
    paths: dict[str, dict[str, list[list[PathPoint]]]] = {}
    for attack, of_attack in attacks.split(measured).items():
        for variant, of_variant in variants.split(of_attack).items():
            if seeds := seed_paths(of_variant, perplexities):
                paths.setdefault(attack, {})[variant] = seeds
    return paths


class BootstrapDraws:
    """Bootstrap draws that all methods of one data set share, computed on first use."""

    def __init__(self, scores: ScoreLookup, losses: LossLookup) -> None:
        self._scores, self._losses = scores, losses
        self._generator = np.random.default_rng(0)

    @functools.cached_property
    def _cache(self) -> dict[object, Any]:
        return {}

    def aucs(self, path: Sequence[PathPoint]) -> Float[np.ndarray, "draws epochs"]:
        """AUC of each draw at each state."""
        return np.column_stack([self._cached_aucs(s.leakage.scores) for s in path])

    def perplexities(self, rows: Sequence[Row]) -> Float[np.ndarray, "draws epochs"] | None:
        """Perplexity of each draw at each of these rows of perplexity; None if the texts' losses are not stored."""
        columns = [self._cached_perplexities(r) for r in rows]
        return None if any(c is None for c in columns) else np.column_stack([c for c in columns if c is not None])

    def _cached_aucs(self, key: str) -> np.ndarray:
        score_set = self._scores(key)
        counts = self._cached(
            (score_set.ids, score_set.groups),
            lambda: counts_by_class(audited_weights(score_set, self._generator), score_set.members),
        )
        return self._cached(("auc", key), lambda: bootstrap_aucs(score_set, counts))

    def _cached_perplexities(self, row: Row) -> np.ndarray | None:
        # Cached, because every attack and every level requests the same states, and losses are read from disk.
        return self._cached((row.cell, row.epoch, row.initialized), lambda: self._bootstrap_perplexities(row))

    def _bootstrap_perplexities(self, row: Row) -> np.ndarray | None:
        losses = self._losses(row)
        if losses is None:
            return None
        weights = self._cached(len(losses.nats), lambda: validation_weights(len(losses.nats), self._generator))
        return bootstrap_perplexities(losses, weights)

    def _cached(self, name: object, make: Callable[[], Made]) -> Made:
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]


def leakage_at_perplexity(
    seeds: Sequence[Sequence[PathPoint]], level: float, draws: BootstrapDraws
) -> LeakageAtPerplexity | str:
    """Return a method's AUC at a perplexity, averaged over seeds, or why it has none: NOT_REACHED, NOT_OBSERVED_CLOSELY.

    The interval covers the bootstrap's, and the rows' intervals of the states around the perplexity: the AUC lies
    between these states, and a bootstrap of perfectly separated texts has no variance.
    """
    if not all(has_reached_level(path, level) for path in seeds):
        return NOT_REACHED
    read = mean_interpolation([estimate_at_level(path, level) for path in seeds])
    auc_draws = [auc_draws_at_level(path, level, draws) for path in seeds]
    mean = np.zeros(0)
    if not any(d is None for d in auc_draws):
        mean = np.mean([d for d in auc_draws if d is not None], axis=0)
        low, high = (float(q) for q in np.quantile(mean[1:], [TAIL, 1 - TAIL]))
        read = read._replace(
            low=min(read.low, low), high=max(read.high, high), half_width=max(read.half_width, (high - low) / 2)
        )
    if not is_observed_closely(read):
        return NOT_OBSERVED_CLOSELY
    return LeakageAtPerplexity(Estimate(read.value, read.low, read.high), mean, read.least, read.most)


def smallest_difference(first: LeakageAtPerplexity, second: LeakageAtPerplexity) -> float:
    """Return the smallest AUC difference (0 or more) that the observed states around the perplexity allow."""
    return max(0.0, first.least - second.most, second.least - first.most)


def auc_draws_at_level(
    path: Sequence[PathPoint], level: float, draws: BootstrapDraws
) -> Float[np.ndarray, " draws"] | None:
    """Return the AUC of each draw where its path first crosses the perplexity; None if the texts' losses are not stored."""
    base = path[0].base_perplexity
    if base is None:
        return None
    perplexities = draws.perplexities([base, *(s.perplexity for s in path)])
    if perplexities is None:
        return None
    levels = level * perplexities[:, 0] / base.value
    return first_crossing(perplexities[:, 1:], levels).read(draws.aucs(path))
