"""Exposure of a canary in bits: how much likelier it is under a model than other samples (references) of its format.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer: Evaluating and Testing Unintended
Memorization in Neural Networks. USENIX Security 2019. arXiv 1802.08232.

    exposure = log2 |R| - log2 rank        rank of the canary among all samples R, by log-perplexity, 1 is the likeliest

- By sampling (their section 4.3): -log2 of the share of N random references, canary included, that are as likely or
  likelier; at most log2(N + 1). Ties count against the canary, so a constant model has exposure 0.
- By extrapolation (the same section): -log2 of the probability below the canary's log-perplexity, under a skew-normal
  distribution fitted to the references' log-perplexities; at most log2 |R|, because a rank is at least 1. For an extreme
  canary this probability underflows a float, so it is computed in logarithms.

The rank of a canary that was never trained on is uniform: its exposure is 1.44 bits on average (1 / ln 2), less than 1 half
of the time, and above k bits once in 2^k times.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from jaxtyping import Float

from byheart.core.errors import CellError

MIN_CDF = 1e-6  # below this, a skew-normal's distribution function loses digits to cancellation
NODES = 64  # of Gauss-Laguerre quadrature: accurate to ten digits for any skewness


def exposure_by_sampling(
    canaries: Float[np.ndarray, " canaries"], references: Float[np.ndarray, " references"]
) -> Float[np.ndarray, " canaries"]:
    """Exposure (bits) of canaries among references, both as log-likelihoods (nats); higher means more memorized."""
    ordered = np.sort(references)
    ranks = 1 + len(ordered) - np.searchsorted(ordered, canaries, "left")
    return np.log2(len(ordered) + 1) - np.log2(ranks)


def exposure_by_extrapolation(
    canaries: Float[np.ndarray, " canaries"], references: Float[np.ndarray, " references"], *, bits: float
) -> Float[np.ndarray, " canaries"]:
    """Exposure (bits) of canaries from a distribution fitted to references; higher means more memorized.

    At most `bits`, log2 of the number of possible samples. Raises `CellError` if all references are equally likely, because
    no distribution can be fitted.
    """
    from scipy.stats import skewnorm

    losses = -references
    if len(losses) < 2 or not float(np.std(losses)) > 0:  # noqa: PLR2004 - one number has no spread
        raise CellError(
            f"exposure: no distribution fits {len(losses)} references of equal likelihood. "
            "Write estimate: sampling, or raise the number of references."
        )
    shape, location, scale = cast("tuple[float, float, float]", skewnorm.fit(losses))
    nats = [-log_skewnorm_cdf((-x - location) / scale, float(shape)) for x in canaries]
    return np.minimum(np.array(nats) / math.log(2), bits)


def log_skewnorm_cdf(z: float, shape: float) -> float:
    """Natural logarithm of the distribution function of a standard skew-normal at z; finite for any z.

    Its density is log-concave, so left of the peak it falls at least as fast as an exponential with the slope at z.
    """
    from scipy.special import erfcx, log_ndtr
    from scipy.stats import skewnorm

    probability = float(skewnorm.cdf(z, shape))
    if probability > MIN_CDF:
        return math.log(probability)

    def log_density(x: Float[np.ndarray, " nodes"]) -> Float[np.ndarray, " nodes"]:
        return math.log(2 / math.sqrt(2 * math.pi)) - x**2 / 2 + log_ndtr(shape * x)

    log_density_at_z = float(log_density(np.array([z]))[0])
    slope = -z + shape * math.sqrt(2 / math.pi) / float(erfcx(-shape * z / math.sqrt(2)))
    nodes, weights = np.polynomial.laguerre.laggauss(NODES)
    ratios = np.exp(np.minimum(log_density(z - nodes / slope) - log_density_at_z + nodes, 0.0))
    return log_density_at_z - math.log(slope) + math.log(float(weights @ ratios))
