"""Confidence intervals and corrections for any statistic: Student's t, Hoeffding, Clopper-Pearson, Holm, bootstrap."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

Name = TypeVar("Name", bound=Hashable)

TAIL = 0.025  # error at each end of a 95 % interval


NO_VARIANCE = 1e-24  # an AUC's variance below this is rounding: one discordant pair among 1e5 x 1e5 still gives 1e-20


def t_critical_value(degrees_of_freedom: float, *, tail: float = TAIL) -> float:
    """Half width of an interval in standard errors, by Student's t, with error `tail` at each end."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 1 - tail))


@functools.lru_cache(maxsize=16)  # all attacks and epochs share their texts' groups, and sorting strings is slowest
def group_indices(groups: tuple[str, ...]) -> Int[np.ndarray, " texts"]:
    """Index of each text's group, from 0."""
    indices = np.unique(np.asarray(groups), return_inverse=True)[1]
    indices.flags.writeable = False
    return indices


def logit_interval(value: float, margin: float) -> tuple[float, float]:
    """Interval of a number between 0 and 1 with half width `margin`, on the logit scale, so that it stays inside [0, 1]."""
    from scipy.special import expit, logit

    steps = margin / (value * (1 - value))
    return float(expit(logit(value) - steps)), float(expit(logit(value) + steps))


def hoeffding(value: float, pairs: float, *, tail: float = TAIL) -> tuple[float, float]:
    """Interval of a mean of numbers in [0, 1], or of an AUC, that is valid for every distribution and sample size."""
    from scipy.special import rel_entr

    def excess(truth: float) -> float:
        return pairs * float(rel_entr(value, truth) + rel_entr(1 - value, 1 - truth)) + math.log(tail)

    return _crossing(excess, value, 0.0), _crossing(excess, value, 1.0)


def _crossing(excess: Callable[[float], float], inside: float, edge: float) -> float:
    """Point between `inside` and `edge` at which the excess becomes positive; `edge` if it never does."""
    outside = abs(edge - 1e-12)  # slightly inside the edge, where the divergence is finite
    if inside == edge or excess(outside) <= 0:
        return edge
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
    return outside


def clopper_pearson(
    successes: Float[np.ndarray, " *shape"] | float, trials: float, *, confidence: float = 0.95
) -> tuple[Float[np.ndarray, " *shape"], Float[np.ndarray, " *shape"]]:
    """Lower and upper ends of the exact interval of a proportion; counts may be fractional, as effective sizes are."""
    from scipy.special import betaincinv

    counts = np.asarray(successes, dtype=np.float64)
    tail = (1 - confidence) / 2
    with np.errstate(
        invalid="ignore"
    ):  # the beta distribution is undefined for 0 or all successes; np.where replaces it
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
    """Number of times that each text occurs in each bootstrap resample. Resamples whole groups, stratified by class.

    Groups with both members and non-members form a third stratum, so that every resample has both classes.
    """
    group = group_indices(groups)
    total = int(group.max()) + 1
    stratum = np.zeros(total, dtype=np.intp)
    stratum[group[membership]] += 1
    stratum[group[~membership]] += 2
    weights = np.zeros((resamples, total), dtype=np.intp)
    for units in (np.flatnonzero(stratum == s) for s in (1, 2, 3)):
        if len(units):
            drawn = generator.integers(len(units), size=(resamples, len(units)))
            flat = (drawn + len(units) * np.arange(resamples)[:, None]).ravel()
            weights[:, units] = np.bincount(flat, minlength=resamples * len(units)).reshape(resamples, len(units))
    return weights[:, group]


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Holm's adjusted p-values, in input order: rejecting all up to alpha gives any false alarm with probability alpha."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(1.0, stepped)[np.argsort(order)]


def holm_by_name(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's adjusted p-values by the name of their test; {} without tests."""
    return dict(zip(p_values, holm(np.array(list(p_values.values()))).tolist(), strict=True))
