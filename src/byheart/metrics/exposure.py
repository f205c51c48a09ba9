"""Exposure: measures by how many bits training made the canaries that were trained on easier to guess.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer: Evaluating and Testing Unintended
Memorization in Neural Networks. USENIX Security 2019. arXiv 1802.08232.

    exposure = log2 |R| - log2 rank of the canary among all fillings R of its format

The exposure is estimated from references, which are other random fillings, by sampling or extrapolation
(`byheart.stats.canary_exposure`).

Departures from the paper: ours is a mean over canaries with an interval, and `held_out_exposure` gives the same for canaries that
a coin held out.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.errors import DataError
from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, LogProbs
from byheart.metrics._canary_exposure import ExposureEstimator, check_canary_formats, exposures, mean_exposure

RANGE = (0.0, math.inf)
REVISION = 1  # extrapolation: test of fit, limited depth, interval with the error of the fit


def exposure(
    canaries: LogProbs,
    canary_references: LogProbs,
    planted: PlantedCanaries,
    *,
    repeated: Annotated[int, Ge(1)] = 1,
    estimate: ExposureEstimator = "sampling",
) -> Estimate:
    """Mean exposure (bits) of the canaries trained on `repeated` times; higher is more exposed, 1.44 is that of unseen canaries.

    By sampling, the maximum is log2(references + 1); by extrapolation, twice that. If no distribution fits the references, the value
    is that of sampling, and without a high end where canaries are likelier than all references. Counts the canaries as members; the
    interval treats them as independent. Raises `DataError` if no such canary was trained on.
    """
    check_canary_formats(planted)
    is_selected = np.array(planted.included) & (np.array(planted.repetitions) == repeated)
    measured = exposures(canaries, canary_references, planted, estimate)
    estimate_with_interval = mean_exposure(measured, is_selected, planted, estimate)
    if estimate_with_interval is None:
        trained_repetitions = sorted(
            {
                repetition
                for repetition, is_included in zip(planted.repetitions, planted.included, strict=True)
                if is_included
            }
        )
        raise DataError(
            f"metrics exposure: no canary repeated {repeated} times was trained on; canaries repeated "
            f"{', '.join(map(str, trained_repetitions)) or 'no'} times were. Set repeated to one of these, or raise data.canaries.count."
        )
    return estimate_with_interval._replace(members=int((is_selected & ~np.isnan(measured.values)).sum()))
