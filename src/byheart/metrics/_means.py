"""Mean over texts with an interval for the sampling of texts: that of `_nll`, corrected for skewness, groups together."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import MeanNll, mean_nll


def mean_estimate(
    values: Float[np.ndarray, " texts"], groups: tuple[str, ...], *, low: float = -math.inf, high: float = math.inf
) -> Estimate:
    """Return the mean over texts with its 95 % interval, which ends at `low` and `high`; no interval for one group."""
    return _clipped(_mean(values, groups), low, high)


def means_of_both_classes(
    members: Float[np.ndarray, " members"],
    nonmembers: Float[np.ndarray, " nonmembers"],
    member_groups: tuple[str, ...],
    nonmember_groups: tuple[str, ...],
) -> dict[str, Estimate]:
    """Return the means of shares (0 to 1) over members and over non-members, and the first minus the second, by name.

    The interval of the difference is Welch's, which treats groups of the two classes as independent.
    """
    means = _mean(members, member_groups), _mean(nonmembers, nonmember_groups)
    counts = len(members), len(nonmembers)
    return {
        "of=members": _clipped(means[0], 0.0, 1.0)._replace(members=counts[0]),
        "of=nonmembers": _clipped(means[1], 0.0, 1.0)._replace(nonmembers=counts[1]),
        "over=nonmembers": _clipped(means[0].minus(means[1]), -1.0, 1.0)._replace(
            members=counts[0], nonmembers=counts[1]
        ),
    }


def _mean(values: Float[np.ndarray, " texts"], groups: tuple[str, ...]) -> MeanNll:
    return mean_nll(LogProbs(logp=-values, starts=np.arange(len(values) + 1)), groups)


def _clipped(mean: MeanNll, low: float, high: float) -> Estimate:
    if mean.interval is None:
        return Estimate(mean.value)
    ends = [min(max(end, low), high) for end in mean.interval]
    return Estimate(mean.value, ends[0], ends[1])
