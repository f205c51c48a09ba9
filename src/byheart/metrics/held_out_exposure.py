"""Exposure of the canaries that were held out: the control of `exposure`, 1.44 bits where nothing is amiss.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer. USENIX Security 2019.
arXiv 1802.08232. Not in the paper: twins, drawn as the canaries that are trained on, that a coin kept out.
"""

from __future__ import annotations

import numpy as np

from byheart.core.errors import DataError
from byheart.core.types import Estimate, LogProbs, PlantedCanaries
from byheart.metrics._canary_exposure import ExposureEstimator, check_canary_formats, exposures, mean_exposure


def held_out_exposure(
    canaries: LogProbs,
    canary_references: LogProbs,
    planted: PlantedCanaries,
    *,
    estimate: ExposureEstimator = "sampling",
) -> Estimate:
    """Mean exposure (bits) of the canaries that were held out; 1.44 on average, higher by chance alone.

    Counts the canaries as non-members. Raises `DataError` where there is none.
    """
    check_canary_formats(planted)
    values, chosen = exposures(canaries, canary_references, planted, estimate), ~np.array(planted.included)
    found = mean_exposure(values, chosen, planted, estimate)
    if found is None:
        raise DataError(
            "exposure of canaries held out: the coins had all of them trained on; raise data.canaries.count"
        )
    return found._replace(nonmembers=int((chosen & ~np.isnan(values)).sum()))
