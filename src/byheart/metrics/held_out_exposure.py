"""Held-out exposure: measures the exposure of canaries that were held out, the control of `exposure`; 1.44 bits are expected.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer. USENIX Security 2019.
arXiv 1802.08232.

    exposure = log2 |R| - log2 rank of the canary among all fillings R of its format

Departure from the paper: held-out canaries, which are sampled like the canaries in the training data and which a coin held out.
"""

from __future__ import annotations

import math

import numpy as np

from byheart.core.errors import DataError
from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, LogProbs
from byheart.metrics._canary_exposure import ExposureEstimator, check_canary_formats, exposures, mean_exposure

RANGE = (0.0, math.inf)
REVISION = 1  # extrapolation: test of fit, limited depth, interval with the error of the fit


def held_out_exposure(
    canaries: LogProbs,
    canary_references: LogProbs,
    planted: PlantedCanaries,
    *,
    estimate: ExposureEstimator = "sampling",
) -> Estimate:
    """Mean exposure (bits) of the canaries that were held out; 1.44 on average, higher only by chance.

    Counts the canaries as non-members. Raises `DataError` if no canary was held out.
    """
    check_canary_formats(planted)
    measured, is_held_out = exposures(canaries, canary_references, planted, estimate), ~np.array(planted.included)
    estimate_with_interval = mean_exposure(measured, is_held_out, planted, estimate)
    if estimate_with_interval is None:
        raise DataError(
            "metrics held_out_exposure: the coins included every canary in the training data. Raise data.canaries.count."
        )
    return estimate_with_interval._replace(nonmembers=int((is_held_out & ~np.isnan(measured.values)).sum()))
