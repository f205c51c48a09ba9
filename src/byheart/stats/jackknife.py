"""Interval of any statistic of grouped texts, by leaving out one group at a time.

B. Efron, C. Stein. The Jackknife Estimate of Variance. Annals of Statistics 9 (1981) 586-596. The jackknife's variance is at least
the true one on average. The half width is Student's t with one degree of freedom less than groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from byheart.stats.intervals import group_indices, t_critical_value


class Jackknife(NamedTuple):
    """A statistic with the ends of its 95 % interval; None if all texts are one group."""

    value: float
    low: float | None
    high: float | None


def jackknife(
    statistic: Callable[[Int[np.ndarray, " chosen"]], float],
    groups: tuple[str, ...],
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> Jackknife:
    """Return a statistic of all texts with its interval, which ends at `low` and `high`.

    `statistic` computes it from the indices of some of the texts.
    """
    group = group_indices(groups)
    count = int(group.max()) + 1
    value = statistic(np.arange(len(group)))
    if count == 1:
        return Jackknife(value, None, None)
    without = np.array([statistic(np.flatnonzero(group != g)) for g in range(count)])
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    margin = t_critical_value(float(count - 1)) * error
    return Jackknife(value, max(value - margin, low), min(value + margin, high))
