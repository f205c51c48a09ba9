"""Shares of texts: binomial tails and intervals by the mid-P rule, and how many texts a group is worth.

- H. Lancaster, Significance Tests in Discrete Distributions, Journal of the American Statistical Association 56 (1961)
  223-234: what was seen counts half as "as extreme or more". Clopper and Pearson's interval counts it whole: never too
  narrow, and with few events far too wide (G. Berry, P. Armitage, Mid-P Confidence Intervals: A Brief Review,
  The Statistician 44 (1995) 417-423). Compared with 12 others in R. Newcombe, Statistics in Medicine 17 (1998) 857-872.
- Effective numbers: L. Kish, Survey Sampling (1965).

Counts may be fractions, as effective sizes are.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from jaxtyping import Float, Int

from byheart.stats.roc_auc import TAIL


def at_most(
    successes: Float[np.ndarray, " *shape"] | float, trials: float, share: float
) -> Float[np.ndarray, " *shape"]:
    """Chance of fewer successes, plus half that of as many; one minus it is the chance of more, plus that half."""
    from scipy.special import betainc

    counts = np.asarray(successes, dtype=np.float64)
    through = np.where(counts >= trials, 1.0, betainc(trials - counts, counts + 1, 1 - share))
    before = np.where(counts <= 0, 0.0, betainc(trials - counts + 1, counts, 1 - share))
    return np.asarray((through + before) / 2)


def mid_p(successes: float, trials: float, *, tail: float = TAIL) -> tuple[float, float]:
    """Two ends of a proportion's interval, each missed in about the share `tail` of all studies."""
    from scipy.optimize import brentq

    value = successes / trials
    low, high = 0.0, 1.0
    if successes > 0:
        low = cast("float", brentq(lambda p: 1 - float(at_most(successes, trials, p)) - tail, 0.0, value))
    if successes < trials:
        high = cast("float", brentq(lambda p: float(at_most(successes, trials, p)) - tail, value, 1.0))
    return low, high


def effective_size(values: Float[np.ndarray, " texts"], group: Int[np.ndarray, " texts"]) -> float:
    """Number of independent texts whose mean is as sure as that of these, some of which share a group: at most the texts.

    Where all values are equal or all texts are one group, and so nothing can be seen, Kish's worst case: a group counts
    as one text.
    """
    texts, sizes = len(values), np.bincount(group)
    sizes = sizes[sizes > 0]
    deviations = values - values.mean()
    spread = float(deviations @ deviations)
    if spread == 0 or len(sizes) == 1:
        return texts**2 / float(sizes @ sizes)
    together = np.bincount(group, deviations)
    between, apart = float(together @ together) / (1 - 1 / len(sizes)), spread / (1 - 1 / texts)
    return texts / max(1.0, between / apart)
