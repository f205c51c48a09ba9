"""Mean over texts with an interval for the sampling of texts: that of `_nll`, corrected for skewness, groups together."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import mean_nll


def mean_estimate(
    values: Float[np.ndarray, " texts"], groups: tuple[str, ...], *, low: float = -math.inf, high: float = math.inf
) -> Estimate:
    """Return the mean over texts with its 95 % interval, which ends at `low` and `high`; no interval for one group."""
    mean = mean_nll(LogProbs(logp=-values, starts=np.arange(len(values) + 1)), groups)
    if mean.interval is None:
        return Estimate(mean.value)
    ends = [min(max(end, low), high) for end in mean.interval]
    return Estimate(mean.value, ends[0], ends[1])
