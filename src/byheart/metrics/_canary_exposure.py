"""Exposure of each canary that has a format, and the interval of a mean of them.

What was hardly seen has exposures that fall off as an exponential does, so the mean's interval is bent by its skewness, as
perplexity's is (`_nll`). Around unseen canaries it holds in 89 % of draws of 4, in 93 % of 8 and in 95 % of 24; plain Student's
in 88, 89 and 92 %.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from byheart.core import ragged
from byheart.core.errors import DataError
from byheart.core.types import Estimate, LogProbs, PlantedCanaries
from byheart.metrics._nll import mean_nll
from byheart.stats.canary_exposure import exposure_by_extrapolation, exposure_by_sampling
from byheart.stats.intervals import hoeffding

ExposureEstimator = Literal["sampling", "extrapolation"]
EQUALITY_TOLERANCE = 1e-9  # bits: what rounding leaves between equal exposures


def exposures(
    canaries: LogProbs, references: LogProbs, planted: PlantedCanaries, estimate: ExposureEstimator
) -> Float[np.ndarray, " canaries"]:
    """Exposure (bits) of each canary among the references of its kind; not a number for kinds without a format.

    Whole texts are compared: what stands before the secret is the same for all of a kind and says nothing.
    """
    own, others = ragged.sums(canaries.logp, canaries.starts), ragged.sums(references.logp, references.starts)
    kinds, reference_kinds = np.array(planted.kinds), np.array(planted.reference_kinds)
    found = np.full(len(own), np.nan)
    for kind, bits in planted.bits.items():
        here, among = own[kinds == kind], others[reference_kinds == kind]
        found[kinds == kind] = (
            exposure_by_sampling(here, among)
            if estimate == "sampling"
            else exposure_by_extrapolation(here, among, bits=bits)
        )
    return found


def mean_exposure(
    values: Float[np.ndarray, " canaries"],
    mask: Bool[np.ndarray, " canaries"],
    planted: PlantedCanaries,
    estimate: ExposureEstimator,
) -> Estimate | None:
    """Mean exposure of the chosen canaries with its interval; None where none of them has an exposure.

    The interval lies inside 0 and the most there is; it is Hoeffding's bound for one canary, and where all are equal.
    """
    kept = values[mask & ~np.isnan(values)]
    if not len(kept):
        return None
    value = float(kept.mean())
    fewest = min(planted.reference_kinds.count(kind) for kind in planted.bits)
    most = math.log2(fewest + 1) if estimate == "sampling" else max(planted.bits.values())
    ends = mean_nll(LogProbs(logp=-kept, starts=np.arange(len(kept) + 1)), tuple(map(str, range(len(kept))))).interval
    if ends is None or float(kept.std()) < EQUALITY_TOLERANCE:
        low, high = hoeffding(min(1.0, value / most), float(len(kept)))
        return Estimate(value, low * most, high * most)
    return Estimate(value, max(0.0, ends[0]), min(most, ends[1]))


def check_canary_formats(planted: PlantedCanaries) -> None:
    """Refuse canaries that nothing can be ranked among."""
    if not planted.bits:
        raise DataError("exposure ranks canaries among fillings of a format; real_texts have none: name another kind")
