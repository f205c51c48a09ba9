"""The skew-normal distribution: fit by moments, tail in logarithms, and a test of goodness of fit.

Adelchi Azzalini. A class of distributions which includes the normal ones. Scandinavian Journal of Statistics 12 (1985) 171-178.

    density at z = 2 phi(z) Phi(shape z)        z = (x - location) / scale        delta = shape / sqrt(1 + shape^2)

- Fit: location, scale and shape that have the sample's mean, standard deviation and skewness, which is at most 0.995 in size.
- Test: the Anderson-Darling statistic, which weights the tails, of the sample under the distribution fitted to it. Parameters are
  estimated, so the p-value is the share of samples drawn from the fit that have at least this statistic under their own fits
  (parametric bootstrap: Winfried Stute, Wenceslao Gonzáles Manteiga, Manuel Presedo Quindimil, Metrika 40 (1993) 243-256).

The draws have a fixed seed, so a number depends on the sample only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MIN_CDF = 1e-6  # below this, the distribution function loses digits to cancellation
NODES = 64  # of Gauss-Laguerre quadrature: accurate to ten digits for any skewness
MAX_SKEWNESS = 0.99  # the family has less than 0.9953
BOOTSTRAP_SAMPLES = 399
PROBABILITY_FLOOR = 1e-12  # keeps logarithms finite


class SkewNormal(NamedTuple):
    """Parameters of one skew-normal distribution, or of many (arrays of one shape)."""

    shape: Float[np.ndarray, " *_"]
    location: Float[np.ndarray, " *_"]
    scale: Float[np.ndarray, " *_"]

    def log_cdf(self, x: Float[np.ndarray, " *_"]) -> Float[np.ndarray, " *_"]:
        """Natural logarithm of the probability of at most x; finite for any x. Parameters and x broadcast."""
        return log_skewnorm_cdf((x - self.location) / self.scale, self.shape)


def skewness(sample: Float[np.ndarray, "*samples size"]) -> Float[np.ndarray, " *_"]:
    """Third central moment of each sample (last axis) divided by its standard deviation cubed."""
    centered = sample - sample.mean(-1, keepdims=True)
    return np.asarray((centered**3).mean(-1) / sample.std(-1) ** 3)


def fit(sample: Float[np.ndarray, "*samples size"]) -> SkewNormal:
    """Fit a distribution to each sample (last axis) by its moments; a skewness that the family lacks is cut to 0.99."""
    limited = np.clip(skewness(sample), -MAX_SKEWNESS, MAX_SKEWNESS)
    power = np.abs(limited) ** (2 / 3)
    delta = np.sign(limited) * np.sqrt(math.pi / 2 * power / (power + ((4 - math.pi) / 2) ** (2 / 3)))
    scale = sample.std(-1) / np.sqrt(1 - 2 * delta**2 / math.pi)
    return SkewNormal(
        np.asarray(delta / np.sqrt(1 - delta**2)),
        np.asarray(sample.mean(-1) - scale * delta * math.sqrt(2 / math.pi)),
        np.asarray(scale),
    )


def bootstrap(fitted: SkewNormal, size: int) -> Float[np.ndarray, "samples size"]:
    """Draw samples of this size from one distribution; the same ones on every call."""
    generator = np.random.default_rng(0)
    own, shared = generator.normal(size=(2, BOOTSTRAP_SAMPLES, size))
    delta = fitted.shape / np.sqrt(1 + fitted.shape**2)
    return fitted.location + fitted.scale * (delta * np.abs(shared) + np.sqrt(1 - delta**2) * own)


def goodness_of_fit(sample: Float[np.ndarray, " size"], samples: Float[np.ndarray, "samples size"]) -> float:
    """P-value (0 to 1) of the test that the sample has a skew-normal distribution; `samples` are drawn from its fit."""
    statistic = float(anderson_darling(sample))
    return float(1 + (anderson_darling(samples) >= statistic).sum()) / (len(samples) + 1)


def anderson_darling(sample: Float[np.ndarray, "*samples size"]) -> Float[np.ndarray, " *_"]:
    """Anderson-Darling statistic of each sample (last axis) under the distribution fitted to it; higher fits worse."""
    fitted, size = fit(sample), sample.shape[-1]
    z = (np.sort(sample, -1) - fitted.location[..., None]) / fitted.scale[..., None]
    probability = np.clip(_cdf(z, fitted.shape[..., None]), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    terms = (2 * np.arange(1, size + 1) - 1) * (np.log(probability) + np.log1p(-probability[..., ::-1]))
    return np.asarray(-size - terms.mean(-1))


def _cdf(z: Float[np.ndarray, " *_"], shape: Float[np.ndarray, " *_"]) -> Float[np.ndarray, " *_"]:
    from scipy.special import ndtr, owens_t

    return np.asarray(ndtr(z) - 2 * owens_t(z, shape))


def log_skewnorm_cdf(
    z: Float[np.ndarray, " *_"] | float, shape: Float[np.ndarray, " *_"] | float
) -> Float[np.ndarray, " *_"]:
    """Natural logarithm of the distribution function of standard skew-normals at z; finite for any z.

    Their density is log-concave, so left of the peak it falls at least as fast as an exponential with the slope at z.
    """
    points, shapes = np.broadcast_arrays(np.asarray(z, dtype=np.float64), np.asarray(shape, dtype=np.float64))
    probability = _cdf(points, shapes)
    in_tail = np.asarray(~(probability > MIN_CDF))
    logarithm = np.array(np.log(np.where(in_tail, 1.0, np.minimum(probability, 1.0))))
    logarithm[in_tail] = _log_tail(points[in_tail], shapes[in_tail])
    return logarithm


def _log_tail(z: Float[np.ndarray, " points"], shape: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    from scipy.special import erfcx, log_ndtr

    def log_density(x: Float[np.ndarray, " *_"], skew: Float[np.ndarray, " *_"]) -> Float[np.ndarray, " *_"]:
        return math.log(2 / math.sqrt(2 * math.pi)) - x**2 / 2 + log_ndtr(skew * x)

    at_z = log_density(z, shape)
    slope = -z + shape * math.sqrt(2 / math.pi) / erfcx(-shape * z / math.sqrt(2))
    nodes, weights = np.polynomial.laguerre.laggauss(NODES)
    below = z[:, None] - nodes / slope[:, None]
    ratios = np.exp(np.minimum(log_density(below, shape[:, None]) - at_z[:, None] + nodes, 0.0))
    return at_z - np.log(slope) + np.log(ratios @ weights)
