"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def rank_correlation(first: Float[np.ndarray, " texts"], second: Float[np.ndarray, " texts"]) -> float | None:
    """Return the correlation of two values' ranks (-1 to 1), with mean ranks for ties; None if all values of one are equal."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (first, second)]
    scale = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
    return float(ranks[0] @ ranks[1]) / scale if scale else None
