"""Exposure of each canary that has a format, and the interval of their mean.

Exposures of unseen canaries have an exponential distribution, so the interval of the mean is corrected for skewness, as that of
perplexity (`_nll`). For unseen canaries it covers the true mean in 89 % of samples of 4, in 93 % of 8 and in 95 % of 24; Student's
interval does in 88, 89 and 92 %.

By extrapolation each exposure has an error of its own, which all canaries of a kind share: the interval goes from the low end of
the interval of their mean low ends to the high end of that of their mean high ends. If a canary's exposure is a lower bound, so
is the mean, which then has no high end.
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
from byheart.stats.canary_exposure import DEPTH, Exposures, exposure_by_extrapolation, exposure_by_sampling
from byheart.stats.intervals import hoeffding

ExposureEstimator = Literal["sampling", "extrapolation"]
EQUALITY_TOLERANCE = 1e-9  # bits; rounding makes equal exposures differ by less


def exposures(
    canaries: LogProbs, references: LogProbs, planted: PlantedCanaries, estimate: ExposureEstimator
) -> Exposures:
    """Return the exposure (bits) of each canary among the references of its kind; NaN for kinds without a format.

    Compares whole texts: the text before the secret is the same for all canaries of a kind and does not change the rank.
    """
    loglik, reference_loglik = (
        ragged.sums(canaries.logp, canaries.starts),
        ragged.sums(references.logp, references.starts),
    )
    kinds, reference_kinds = np.array(planted.kinds), np.array(planted.reference_kinds)
    ends = np.full((3, len(loglik)), np.nan)
    is_bound = np.zeros(len(loglik), dtype=np.bool_)
    for kind, bits in planted.bits.items():
        of_kind = kinds == kind
        kind_loglik, kind_references = loglik[of_kind], reference_loglik[reference_kinds == kind]
        if estimate == "sampling":
            ends[:, of_kind] = exposure_by_sampling(kind_loglik, kind_references)
        else:
            *ends[:, of_kind], is_bound[of_kind] = exposure_by_extrapolation(kind_loglik, kind_references, bits=bits)
    return Exposures(ends[0], ends[1], ends[2], is_bound)


def mean_exposure(
    measured: Exposures,
    mask: Bool[np.ndarray, " canaries"],
    planted: PlantedCanaries,
    estimate: ExposureEstimator,
) -> Estimate | None:
    """Return the mean exposure (bits) of the selected canaries with its interval; None if none of them has an exposure.

    The interval is within 0 and the maximum exposure. It is Hoeffding's bound for one canary, and if all exposures are equal.
    It has no high end if an exposure is a lower bound.
    """
    selected = mask & ~np.isnan(measured.values)
    if not selected.any():
        return None
    min_references = min(planted.reference_kinds.count(kind) for kind in planted.bits)
    max_sampled, max_bits = math.log2(min_references + 1), max(planted.bits.values())
    deepest, highest = (max_sampled,) * 2 if estimate == "sampling" else (min(max_bits, DEPTH * max_sampled), max_bits)
    low = _interval_of_mean(measured.lows[selected], deepest)[0]
    high = _interval_of_mean(measured.highs[selected], highest)[1]
    value = float(measured.values[selected].mean())
    return Estimate(value, low, None if measured.is_bound[selected].any() else high)


def _interval_of_mean(values: Float[np.ndarray, " canaries"], maximum: float) -> tuple[float, float]:
    interval = mean_nll(
        LogProbs(logp=-values, starts=np.arange(len(values) + 1)), tuple(map(str, range(len(values))))
    ).interval
    if interval is None or float(values.std()) < EQUALITY_TOLERANCE:
        low, high = hoeffding(min(1.0, float(values.mean()) / maximum), float(len(values)))
        return low * maximum, high * maximum
    return max(0.0, interval[0]), min(maximum, interval[1])


def check_canary_formats(planted: PlantedCanaries) -> None:
    """Raise `DataError` if no canary has a format, so that references are missing."""
    if not planted.bits:
        raise DataError(
            "metrics exposure: canaries of kind real_texts have no reference canaries. Add another kind to data.canaries.kinds."
        )
