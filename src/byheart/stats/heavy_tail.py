"""Upper limit of a tail probability beyond the largest observations, from a generalized Pareto distribution.

James Pickands. Statistical inference using extreme order statistics. Annals of Statistics 3 (1975) 119-131.

    P(X > x) = share beyond u x (1 + k (x - u) / scale)^(-1 / k)        for x above a threshold u; an exponential where k = 0

Above a high threshold the tail of almost every distribution has this form. The limit is that of the profile likelihood (95 %) of
share, scale and k together, with k at least 0: tails that end early or fall faster than an exponential are not assumed, because a
few dozen observations cannot show them.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

TAIL_SHARE = 0.2  # of the observations, above the threshold
CRITICAL = 3.84  # 95 % point of chi-squared with one degree of freedom
TAIL_INDICES = np.linspace(0, 1.5, 61)[:, None, None]
SCALE_RATIOS = np.exp(np.linspace(-1.6, 1.6, 97))[None, :, None]


def log_tail_limit(
    points: Float[np.ndarray, " points"], sample: Float[np.ndarray, " size"]
) -> Float[np.ndarray, " points"]:
    """Natural logarithm of the upper confidence limit (97.5 %) of P(X > x) at each point; 0 below the threshold."""
    ordered = np.sort(sample)
    count = max(2, int(TAIL_SHARE * len(sample)))
    threshold, excesses = ordered[-count - 1], ordered[-count:] - ordered[-count - 1]
    scales = excesses.mean() * SCALE_RATIOS
    loglik = (-np.log(scales) + _log_density(excesses / scales)).sum(-1)
    deviance = 2 * (loglik.max() - loglik)
    inside = deviance <= CRITICAL
    share = count / len(sample)
    error = np.sqrt((CRITICAL - deviance[inside]) / (len(sample) * share * (1 - share)))
    log_share = -np.log1p(np.exp(-(math.log(share / (1 - share)) + error)))
    excess = np.maximum(points - threshold, 0.0)
    indices, ratios = np.broadcast_arrays(TAIL_INDICES[..., 0], scales[..., 0])
    log_tail = _log_survival(excess / ratios[inside][:, None], indices[inside][:, None]) + log_share[:, None]
    return np.where(points > threshold, log_tail.max(0), 0.0)


def _log_survival(z: Float[np.ndarray, " *_"], index: Float[np.ndarray, " *_"]) -> Float[np.ndarray, " *_"]:
    positive = np.where(index > 0, index, 1.0)
    return np.where(index > 0, -np.log1p(positive * z) / positive, -z)


def _log_density(z: Float[np.ndarray, " *_"]) -> Float[np.ndarray, " *_"]:
    """Log-density at z in units of the scale, for every index: the survival function's, once more (1 + index z)^-1."""
    return _log_survival(z, TAIL_INDICES) - np.log1p(TAIL_INDICES * z)
