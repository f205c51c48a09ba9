"""Exposure of a canary in bits: how much likelier it is under a model than other samples (references) of its format.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer: Evaluating and Testing Unintended
Memorization in Neural Networks. USENIX Security 2019. arXiv 1802.08232.

    exposure = log2 |R| - log2 rank        rank of the canary among all samples R, by log-perplexity, 1 is the likeliest

- By sampling (their section 4.3): -log2 of the share of N random references, canary included, that are as likely or
  likelier; at most log2(N + 1). Ties count against the canary, so a constant model has exposure 0.
- By extrapolation (the same section): -log2 of the probability below the canary's log-perplexity, under a skew-normal
  distribution fitted to the references' log-perplexities; at most log2 |R|, because a rank is at least 1. For an extreme
  canary this probability underflows a float, so it is computed in logarithms.

Departures from the paper, because the tail is not observed. 200 references show 7.65 bits. If a canary has 20 bits, the fit says
20 for normal log-perplexities but 45 for logistic, 75 for Laplace and over 100 for Student's t with 5 degrees of freedom:

- Goodness of fit: theirs is one Kolmogorov-Smirnov test of one model. Ours is an Anderson-Darling test in every use; a fit with a
  p-value below 0.1 is refused, and so are a skewness that no skew-normal has and fewer than 50 references. Then the value is that
  of sampling with Clopper and Pearson's interval; for a canary likelier than all references it is a lower bound.
- Depth: 200 references do not show a mild misfit. The fit is used up to twice the bits that sampling shows (15.3 for 200
  references); a canary beyond has this value, and the space's bits as high end.
- The low end assumes no skew-normal tail but any tail that a generalized Pareto distribution describes (`heavy_tail`). The high
  end is the 97.5 % point of fits to bootstrap samples.
- The fit is by moments in place of maximum likelihood, which is too slow to repeat.

The rank of a canary that was never trained on is uniform: its exposure is 1.44 bits on average (1 / ln 2), less than 1 half
of the time, and above k bits once in 2^k times.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.errors import CellError
from byheart.stats import skew_normal
from byheart.stats.heavy_tail import log_tail_limit
from byheart.stats.intervals import TAIL, clopper_pearson

MIN_P_VALUE = 0.1
MIN_REFERENCES = 50
DEPTH = 2.0  # times the bits that sampling shows


class Exposures(NamedTuple):
    """Exposure (bits) of each canary with the ends of its interval for the error of the estimate.

    `is_bound` marks values that are lower bounds: no distribution fits the references, and the canary is likelier than all of them.
    Their high end is that of the space.
    """

    values: Float[np.ndarray, " canaries"]
    lows: Float[np.ndarray, " canaries"]
    highs: Float[np.ndarray, " canaries"]
    is_bound: Bool[np.ndarray, " canaries"]


def exposure_by_sampling(
    canaries: Float[np.ndarray, " canaries"], references: Float[np.ndarray, " references"]
) -> Float[np.ndarray, " canaries"]:
    """Exposure (bits) of canaries among references, both as log-likelihoods (nats); higher means more memorized."""
    ordered = np.sort(references)
    ranks = 1 + len(ordered) - np.searchsorted(ordered, canaries, "left")
    return np.log2(len(ordered) + 1) - np.log2(ranks)


def exposure_by_extrapolation(
    canaries: Float[np.ndarray, " canaries"], references: Float[np.ndarray, " references"], *, bits: float
) -> Exposures:
    """Exposure (bits) of canaries from a distribution fitted to references, with intervals; higher means more memorized.

    At most `bits`, log2 of the number of possible samples, and twice what sampling shows. Raises `CellError` if all references are
    equally likely, because no distribution can be fitted.
    """
    losses = -references
    if len(losses) < 2 or not float(np.std(losses)) > 0:  # noqa: PLR2004 - one number has no spread
        raise CellError(
            f"exposure: no distribution fits {len(losses)} references of equal likelihood. "
            "Write estimate: sampling, or raise the number of references."
        )
    fitted = skew_normal.fit(losses)
    samples = skew_normal.bootstrap(fitted, len(losses))
    if (
        len(losses) < MIN_REFERENCES
        or abs(float(skew_normal.skewness(losses))) > skew_normal.MAX_SKEWNESS
        or skew_normal.goodness_of_fit(losses, samples) < MIN_P_VALUE
    ):
        return _what_sampling_shows(canaries, references, bits)
    deepest = min(bits, DEPTH * math.log2(len(losses) + 1))
    values = -fitted.log_cdf(-canaries) / math.log(2)
    refits = skew_normal.fit(samples)
    refitted = -skew_normal.SkewNormal(*(p[:, None] for p in refits)).log_cdf(-canaries[None]) / math.log(2)
    highs = np.quantile(refitted, 1 - TAIL, axis=0)
    lows = np.maximum(-log_tail_limit(canaries, references) / math.log(2), 0.0)
    values = np.minimum(values, deepest)
    return Exposures(
        values,
        np.minimum(lows, values),
        np.where(highs < deepest, np.maximum(highs, values), bits),
        np.zeros(len(values), dtype=np.bool_),
    )


def _what_sampling_shows(
    canaries: Float[np.ndarray, " canaries"], references: Float[np.ndarray, " references"], bits: float
) -> Exposures:
    """Return what sampling shows; it is a lower bound for canaries that are likelier than all references."""
    likelier = len(references) - np.searchsorted(np.sort(references), canaries, "left")
    values = np.minimum(exposure_by_sampling(canaries, references), bits)
    least, most = clopper_pearson(likelier.astype(np.float64), float(len(references)))
    highs = np.minimum(-np.log2(np.maximum(least, 2.0**-bits)), bits)
    return Exposures(values, np.clip(-np.log2(most), 0.0, values), np.maximum(highs, values), likelier == 0)
