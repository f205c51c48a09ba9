"""Every method's path through its epochs, and what it leaks where all have the same perplexity."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from byheart.analysis import labels
from byheart.analysis.comparisons import ScoreLookup, auc_rows
from byheart.analysis.utility_curves import (
    PathPoint,
    audited_weights,
    bootstrap_aucs,
    bootstrap_perplexities,
    counts_by_class,
    estimate_at_level,
    first_crossing,
    has_reached_level,
    perplexity_by_cell_and_epoch,
    seed_paths,
    validation_weights,
)
from byheart.core.types import Estimate, Row, TextLosses
from byheart.stats.intervals import TAIL

LossLookup = Callable[[Row], TextLosses | None]
Made = TypeVar("Made")


class LeakageAtPerplexity(NamedTuple):
    """What a method leaks at a perplexity: its estimate, and each draw's number (empty where texts' losses are not kept)."""

    estimate: Estimate
    draws: Float[np.ndarray, " draws"]


def paths_by_attack_and_method(rows: Sequence[Row]) -> dict[str, dict[str, list[list[PathPoint]]]]:
    """Return, by attack and method, the path of each seed through epochs at which AUC and perplexity were both measured."""
    measured = auc_rows(rows)
    use = perplexity_by_cell_and_epoch(rows)
    variants, attacks = labels.variants(rows), labels.attacks(measured)
    found: dict[str, dict[str, list[list[PathPoint]]]] = {}
    for attack, there in attacks.split(measured).items():
        for variant, those in variants.split(there).items():
            if whole := seed_paths(those, use):
                found.setdefault(attack, {})[variant] = whole
    return found


class BootstrapDraws:
    """The draws that all methods of one data set share; made when first asked for."""

    def __init__(self, scores: ScoreLookup, losses: LossLookup) -> None:
        self._scores, self._losses = scores, losses
        self._generator = np.random.default_rng(0)

    @functools.cached_property
    def _cache(self) -> dict[object, Any]:
        return {}

    def aucs(self, path: Sequence[PathPoint]) -> Float[np.ndarray, "draws epochs"]:
        """AUC of each draw at each epoch."""
        return np.column_stack([self._cached_aucs(s.leakage.scores) for s in path])

    def perplexities(self, path: Sequence[PathPoint]) -> Float[np.ndarray, "draws epochs"] | None:
        """Perplexity of each draw at each epoch; None where the texts' losses are not kept."""
        held = [self._cached_perplexities(s.perplexity) for s in path]
        return None if any(h is None for h in held) else np.column_stack([h for h in held if h is not None])

    def _cached_aucs(self, key: str) -> np.ndarray:
        held = self._scores(key)
        drawn = self._cached(
            (held.ids, held.groups), lambda: counts_by_class(audited_weights(held, self._generator), held.members)
        )
        return self._cached(("auc", key), lambda: bootstrap_aucs(held, drawn))

    def _cached_perplexities(self, row: Row) -> np.ndarray | None:
        # Looked up once: every attack and every level asks for the same epochs, and losses lie on the disk.
        return self._cached((row.cell, row.epoch), lambda: self._bootstrap_perplexities(row))

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
) -> LeakageAtPerplexity | None:
    """Return what a method leaks at a perplexity, the mean of its seeds; None where a seed does not reach it.

    The interval is never narrower than the rows' own, read along the path in the same way: a bootstrap of perfectly
    separated texts knows no doubt.
    """
    if not all(has_reached_level(path, level) for path in seeds):
        return None
    ends = [estimate_at_level(path, level) for path in seeds]
    value, low, high = (float(np.mean([e[i] for e in ends])) for i in range(3))
    drawn = [_auc_draws_at_level(path, level, draws) for path in seeds]
    if any(d is None for d in drawn):
        return LeakageAtPerplexity(Estimate(value, low, high), np.zeros(0))
    mean = np.mean([d for d in drawn if d is not None], axis=0)
    outer = np.quantile(mean[1:], [TAIL, 1 - TAIL])
    return LeakageAtPerplexity(Estimate(value, min(low, float(outer[0])), max(high, float(outer[1]))), mean)


def _auc_draws_at_level(
    path: Sequence[PathPoint], level: float, draws: BootstrapDraws
) -> Float[np.ndarray, " draws"] | None:
    perplexities = draws.perplexities(path)
    if perplexities is None or path[0].perplexity.epoch != 0:
        return None
    moved = level * perplexities[:, 0] / path[0].perplexity.value
    return first_crossing(perplexities, moved).read(draws.aucs(path))
