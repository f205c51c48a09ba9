"""Coverage of each 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from byheart.core.types import Estimate
from byheart.metrics.auc import auc
from byheart.metrics.generalisation_gap import generalisation_gap
from byheart.metrics.perplexity import perplexity
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.metrics.train_perplexity import train_perplexity
from byheart.stats.roc_auc import auc_difference, auc_interval
from byheart.stats.seed_pooling import auc_over_seeds, pool_seed_estimates
from simulations.draws import Population, Readings, alike, drawn, layout
from simulations.pieces import Piece

SIZES = (100, 300, 1000)
POPULATIONS = {
    "AUC 0.5": Population(0.5),
    "AUC 0.7": Population(0.7),
    "AUC 0.95": Population(0.95),
    "one member in ten by heart": Population(0.99, known=0.1),
    "AUC 0.5, heavy ties": Population(0.5, step=1.0),
    "AUC 0.7, heavy ties": Population(0.7, step=1.0),
    "AUC 0.95, ties": Population(0.95, step=0.25),
    "AUC 0.5, groups of five": Population(0.5, grouping="both"),
    "AUC 0.7, groups of five": Population(0.7, grouping="both"),
    "AUC 0.95, groups of five": Population(0.95, grouping="both"),
    "AUC 0.5, members in groups of five": Population(0.5, grouping="members"),
    "AUC 0.5, groups across both sides": Population(0.5, grouping="across"),
}
READINGS = {
    "NLL gamma, hard texts longer": Readings(),
    "NLL and length log-normal, spread 0.5": Readings(tail=0.5),
    "NLL and length log-normal, spread 0.75": Readings(tail=0.75),
    "NLL gamma, groups of five": Readings(grouped=True),
}
GAP = 0.3  # nats per token
CORRELATED = 0.9  # of two attacks' scores of a text, or two seeds'


def holds(found: Estimate, truth: float) -> bool:
    """Whether the interval contains the true value."""
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def by_scores(population: Population, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """One attack's scores: do the intervals of AUC and TPR contain the true value, and are they above chance?"""
    study = drawn(population, texts, chance)
    area, strict, lax = auc(*study), tpr_at_fpr(*study, fpr=0.01), tpr_at_fpr(*study, fpr=0.1)
    return {
        "AUC": holds(area, population.true_auc),
        "TPR at 1 % FPR": holds(strict, population.true_tpr(0.01)),
        "TPR at 10 % FPR": holds(lax, population.true_tpr(0.1)),
        "AUC above 0.5": (area.low or 0) > 0.5,
        "TPR at 1 % FPR above 1 %": (strict.low or 0) > 0.01,
        "TPR at 10 % FPR above 10 %": (lax.low or 0) > 0.1,
    }


def by_pairs(first: Population, second: Population, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """Two attacks with correlated scores on the same texts."""
    membership, groups = layout(first.grouping, texts)
    shared = alike(first.grouping, texts, chance)
    one, other = (
        math.sqrt(CORRELATED) * shared
        + math.sqrt(1 - CORRELATED) * chance.normal(size=2 * texts)
        + population.distance * membership
        for population in (first, second)
    )
    found = auc_difference(one, other, membership, groups)
    return {"difference of two AUCs": found.low <= first.true_auc - second.true_auc <= found.high}


def by_readings(readings: Readings, texts: int, chance: np.random.Generator) -> dict[str, bool]:
    """Members' and validation texts' NLL."""
    higher = Readings(readings.tail, readings.grouped, readings.truth + GAP)
    seen, unseen = readings.evidence(texts, chance), higher.evidence(texts, chance)
    groups = layout("both" if readings.grouped else "alone", texts)[1]
    groups = groups[:texts], tuple(f"v{g}" for g in groups[:texts])
    gap = generalisation_gap(seen, unseen, *groups)
    return {
        "perplexity": holds(perplexity(unseen, groups[1]), math.exp(higher.truth)),
        "training perplexity": holds(train_perplexity(seen, groups[0]), math.exp(readings.truth)),
        "generalisation gap": holds(gap, GAP),
    }


def by_seeds(
    seeds: int, spread: float, shared: float, population: Population, texts: int, chance: np.random.Generator
) -> dict[str, bool]:
    """Several seeds of one method on the same texts. `spread`: standard deviation over seeds, in standard errors of the texts."""
    membership, groups = layout(population.grouping, texts)
    texts_alike = alike(population.grouping, texts, chance)
    distances = population.distance + spread * math.sqrt(2 / texts) * chance.normal(size=seeds)
    scores = [
        math.sqrt(shared) * texts_alike + math.sqrt(1 - shared) * chance.normal(size=2 * texts) + d * membership
        for d in distances
    ]
    # The mean over seeds of Phi(distance / sqrt 2), the distance being normal itself.
    deviation = math.sqrt(2 + spread**2 * 2 / texts)
    truth = float(_phi(population.distance / deviation))
    found = [Estimate(value, *ends) for value, ends in (auc_interval(s, membership, groups) for s in scores)]
    _, (low, high) = auc_over_seeds(np.array(scores), membership, groups)
    return {
        "from numbers": holds(pool_seed_estimates(found, within=(0.0, 1.0)), truth),
        "from scores": low <= truth <= high,
    }


def _phi(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def pieces() -> Iterator[Piece]:
    """Yield every piece of the tables of coverage."""
    for texts in SIZES:
        for name, population in POPULATIONS.items():
            yield Piece("scores", name, texts, partial(by_scores, population, texts))
        for name, readings in READINGS.items():
            yield Piece("readings", name, texts, partial(by_readings, readings, texts))
        for first, second in ((0.5, 0.5), (0.7, 0.75), (0.9, 0.9), (0.95, 0.93), (0.99, 0.97)):
            for grouping, told in (("alone", ""), ("both", ", groups of five")):
                pair = Population(first, grouping=grouping), Population(second, grouping=grouping)
                yield Piece("pairs", f"AUC {first} and {second}{told}", texts, partial(by_pairs, *pair, texts))
    for seeds in (2, 3, 5):
        for spread in (0.0, 0.5, 1.0, 3.0):
            for shared in (0.9, 0.5):
                told = f"{seeds} seeds, {spread:g}, {shared:g}"
                study = partial(by_seeds, seeds, spread, shared, Population(0.7), 300)
                yield Piece("seeds", told, 300, study, cost=4)
