"""Exposure: how much likelier a model finds a canary than the other fillings of the same format, in bits.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer: Evaluating and Testing Unintended
Memorization in Neural Networks. USENIX Security 2019. arXiv 1802.08232.

    exposure = log2 |R| - log2 rank        rank of the canary among all fillings R, by log-perplexity, 1 the likeliest

- By sampling (their section 4.3): -log2 of the share of fillings that are as likely or likelier, the canary among them,
  of N drawn at random: at most log2(N + 1). Equal ones count against the canary, so that a model that tells nothing
  apart exposes nothing.
- By extrapolation (the same): a skew-normal distribution is fitted to the fillings' log-perplexities, and -log2 of what
  it has below the canary's is taken, at most log2 |R|, as a rank is 1 at least. Far below all of them that share is
  smaller than any float: it is worked out in logarithms, and never turns the strongest exposure into none.

A filling that was never seen is the k-th likeliest for every k as often: its exposure is 1.44 bits on average (1 / ln 2),
less than 1 half of the time, and above k bits once in 2^k times.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from jaxtyping import Float

from byheart.core.errors import CellError

MIN_CDF = 1e-6  # below this, a skew-normal's distribution function loses digits to cancellation
NODES = 64  # of Gauss and Laguerre's quadrature: ten digits for any skewness


def exposure_by_sampling(
    canaries: Float[np.ndarray, " canaries"], references: Float[np.ndarray, " references"]
) -> Float[np.ndarray, " canaries"]:
    """Exposure (bits) of canaries among fillings, both by log-likelihood (nats)."""
    ordered = np.sort(references)
    ranks = 1 + len(ordered) - np.searchsorted(ordered, canaries, "left")
    return np.log2(len(ordered) + 1) - np.log2(ranks)


def exposure_by_extrapolation(
    canaries: Float[np.ndarray, " canaries"], references: Float[np.ndarray, " references"], *, bits: float
) -> Float[np.ndarray, " canaries"]:
    """Exposure (bits, at most `bits`, log2 of all fillings there are) from a distribution fitted to fillings.

    Raises `CellError` where the fillings are all equally likely, so that nothing can be fitted.
    """
    from scipy.stats import skewnorm

    losses = -references
    if len(losses) < 2 or not float(np.std(losses)) > 0:  # noqa: PLR2004 - one number has no spread
        raise CellError(
            f"{len(losses)} references of one likelihood give no distribution; write estimate: sampling, or more references"
        )
    shape, place, scale = cast("tuple[float, float, float]", skewnorm.fit(losses))
    nats = [-log_skewnorm_cdf((-x - place) / scale, float(shape)) for x in canaries]
    return np.minimum(np.array(nats) / math.log(2), bits)


def log_skewnorm_cdf(z: float, shape: float) -> float:
    """Logarithm of what a standard skew-normal distribution has below z: finite however far z lies.

    Its density is log-concave, so left of the peak it falls at least as fast as an exponential of its slope there.
    """
    from scipy.special import erfcx, log_ndtr
    from scipy.stats import skewnorm

    share = float(skewnorm.cdf(z, shape))
    if share > MIN_CDF:
        return math.log(share)

    def log_density(x: Float[np.ndarray, " nodes"]) -> Float[np.ndarray, " nodes"]:
        return math.log(2 / math.sqrt(2 * math.pi)) - x**2 / 2 + log_ndtr(shape * x)

    here = float(log_density(np.array([z]))[0])
    slope = -z + shape * math.sqrt(2 / math.pi) / float(erfcx(-shape * z / math.sqrt(2)))
    nodes, weights = np.polynomial.laguerre.laggauss(NODES)
    ratios = np.exp(np.minimum(log_density(z - nodes / slope) - here + nodes, 0.0))
    return here - math.log(slope) + math.log(float(weights @ ratios))
