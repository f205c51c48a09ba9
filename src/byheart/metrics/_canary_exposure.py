"""Exposure of each canary that has a format, and the interval of their mean.

Exposures of unseen canaries have an exponential distribution, so the interval of the mean is corrected for skewness, as that of
perplexity (`_nll`). For unseen canaries it covers the true mean in 89 % of samples of 4, in 93 % of 8 and in 95 % of 24; Student's
interval does in 88, 89 and 92 %.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from byheart.core import ragged
from byheart.core.errors import DataError
from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, LogProbs
from byheart.metrics._nll import mean_nll
from byheart.stats.canary_exposure import exposure_by_extrapolation, exposure_by_sampling
from byheart.stats.intervals import hoeffding

ExposureEstimator = Literal["sampling", "extrapolation"]
EQUALITY_TOLERANCE = 1e-9  # bits; rounding makes equal exposures differ by less


def exposures(
    canaries: LogProbs, references: LogProbs, planted: PlantedCanaries, estimate: ExposureEstimator
) -> Float[np.ndarray, " canaries"]:
    """Return the exposure (bits) of each canary among the references of its kind; NaN for kinds without a format.

    Compares whole texts: the text before the secret is the same for all canaries of a kind and does not change the rank.
    """
    loglik, reference_loglik = (
        ragged.sums(canaries.logp, canaries.starts),
        ragged.sums(references.logp, references.starts),
    )
    kinds, reference_kinds = np.array(planted.kinds), np.array(planted.reference_kinds)
    values = np.full(len(loglik), np.nan)
    for kind, bits in planted.bits.items():
        kind_loglik, kind_references = loglik[kinds == kind], reference_loglik[reference_kinds == kind]
        values[kinds == kind] = (
            exposure_by_sampling(kind_loglik, kind_references)
            if estimate == "sampling"
            else exposure_by_extrapolation(kind_loglik, kind_references, bits=bits)
        )
    return values


def mean_exposure(
    values: Float[np.ndarray, " canaries"],
    mask: Bool[np.ndarray, " canaries"],
    planted: PlantedCanaries,
    estimate: ExposureEstimator,
) -> Estimate | None:
    """Return the mean exposure (bits) of the selected canaries with its interval; None if none of them has an exposure.

    The interval is within 0 and the maximum exposure. It is Hoeffding's bound for one canary, and if all exposures are equal.
    """
    selected = values[mask & ~np.isnan(values)]
    if not len(selected):
        return None
    value = float(selected.mean())
    min_references = min(planted.reference_kinds.count(kind) for kind in planted.bits)
    max_exposure = math.log2(min_references + 1) if estimate == "sampling" else max(planted.bits.values())
    interval = mean_nll(
        LogProbs(logp=-selected, starts=np.arange(len(selected) + 1)), tuple(map(str, range(len(selected))))
    ).interval
    if interval is None or float(selected.std()) < EQUALITY_TOLERANCE:
        low, high = hoeffding(min(1.0, value / max_exposure), float(len(selected)))
        return Estimate(value, low * max_exposure, high * max_exposure)
    return Estimate(value, max(0.0, interval[0]), min(max_exposure, interval[1]))


def check_canary_formats(planted: PlantedCanaries) -> None:
    """Raise `DataError` if no canary has a format, so that references are missing."""
    if not planted.bits:
        raise DataError(
            "metrics exposure: real_texts canaries have no format to rank them in. Name another kind of canary."
        )
