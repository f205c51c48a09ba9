"""Confidence intervals and corrections for any statistic: Student's t, Hoeffding, Clopper-Pearson, Holm, bootstrap."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

TAIL = 0.025  # at either end of an interval of 95 %


NO_VARIANCE = 1e-24  # an AUC's variance below this is rounding: one discordant pair among 1e5 x 1e5 still gives 1e-20


def t_critical_value(degrees_of_freedom: float, *, tail: float = TAIL) -> float:
    """How many standard errors an interval reaches to either side, by Student's t, with so much left at either end."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 1 - tail))


@functools.lru_cache(maxsize=16)  # all attacks and epochs share their texts' groups, and sorting words takes longest
def group_indices(groups: tuple[str, ...]) -> Int[np.ndarray, " texts"]:
    """Number of each text's group, from 0."""
    found = np.unique(np.asarray(groups), return_inverse=True)[1]
    found.flags.writeable = False
    return found


def logit_interval(value: float, margin: float) -> tuple[float, float]:
    """Interval of a number between 0 and 1 that reaches so far to either side, bent to stay there by the logit."""
    from scipy.special import expit, logit

    steps = margin / (value * (1 - value))
    return float(expit(logit(value) - steps)), float(expit(logit(value) + steps))


def hoeffding(value: float, pairs: float, *, tail: float = TAIL) -> tuple[float, float]:
    """Interval of a mean of numbers in [0, 1], or of an AUC, that holds for every distribution and every size."""
    from scipy.special import rel_entr

    def excess(truth: float) -> float:
        return pairs * float(rel_entr(value, truth) + rel_entr(1 - value, 1 - truth)) + math.log(tail)

    return _crossing(excess, value, 0.0), _crossing(excess, value, 1.0)


def _crossing(excess: Callable[[float], float], inside: float, edge: float) -> float:
    """Where the excess turns positive on the way from inside to the edge; the edge where it never does."""
    outside = abs(edge - 1e-12)  # a hair from the edge, where the divergence is still finite
    if inside == edge or excess(outside) <= 0:
        return edge
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
    return outside


def clopper_pearson(
    successes: Float[np.ndarray, " *shape"] | float, trials: float, *, confidence: float = 0.95
) -> tuple[Float[np.ndarray, " *shape"], Float[np.ndarray, " *shape"]]:
    """Lower and upper ends of the exact interval of a proportion; counts may be fractions, as effective sizes are."""
    from scipy.special import betaincinv

    counts = np.asarray(successes, dtype=np.float64)
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):  # at none and at all there is no beta distribution, and the end is known
        low = np.where(counts <= 0, 0.0, betaincinv(counts, trials - counts + 1, tail))
        high = np.where(counts >= trials, 1.0, betaincinv(counts + 1, trials - counts, 1 - tail))
    return low, high


def bootstrap_weights(
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    *,
    resamples: int,
    generator: np.random.Generator,
) -> Int[np.ndarray, " resamples texts"]:
    """How often each text is drawn in each resample, groups being drawn whole, members and non-members apart.

    Groups that hold both are a stratum of their own, so that every resample has both sides.
    """
    group = group_indices(groups)
    total = int(group.max()) + 1
    stratum = np.zeros(total, dtype=np.intp)
    stratum[group[membership]] += 1
    stratum[group[~membership]] += 2
    weights = np.zeros((resamples, total), dtype=np.intp)
    for part in (np.flatnonzero(stratum == s) for s in (1, 2, 3)):
        if len(part):
            drawn = generator.integers(len(part), size=(resamples, len(part)))
            flat = (drawn + len(part) * np.arange(resamples)[:, None]).ravel()
            weights[:, part] = np.bincount(flat, minlength=resamples * len(part)).reshape(resamples, len(part))
    return weights[:, group]


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Holm's adjusted p-values, in the order given: reject those at most alpha; any false alarm has chance alpha."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(1.0, stepped)[np.argsort(order)]
