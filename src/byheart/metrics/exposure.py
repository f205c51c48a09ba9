"""Exposure of the canaries that were trained on: by how many bits training made them easier to guess.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer: Evaluating and Testing Unintended
Memorization in Neural Networks. USENIX Security 2019. arXiv 1802.08232.

    exposure = log2 |R| - log2 rank of the canary among all fillings R of its format

Estimated from references, other fillings drawn at random, one way or the other (`byheart.stats.canary_exposure`). Departs from the
paper: a mean over canaries with its interval, and `held_out_exposure` beside it, of canaries that a coin kept out.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.errors import DataError
from byheart.core.types import Estimate, LogProbs, PlantedCanaries
from byheart.metrics._canary_exposure import ExposureEstimator, check_canary_formats, exposures, mean_exposure


def exposure(
    canaries: LogProbs,
    canary_references: LogProbs,
    planted: PlantedCanaries,
    *,
    repeated: Annotated[int, Ge(1)] = 1,
    estimate: ExposureEstimator = "sampling",
) -> Estimate:
    """Mean exposure (bits) of the canaries trained on `repeated` times; higher is more exposed, 1.44 that of canaries never seen.

    By sampling, log2(references + 1) is the most there is. Counts the canaries as members; their interval takes them as
    independent. Raises `DataError` where there is no such canary.
    """
    check_canary_formats(planted)
    chosen = np.array(planted.included) & (np.array(planted.repetitions) == repeated)
    values = exposures(canaries, canary_references, planted, estimate)
    found = mean_exposure(values, chosen, planted, estimate)
    if found is None:
        there = sorted({r for r, x in zip(planted.repetitions, planted.included, strict=True) if x})
        raise DataError(
            f"exposure of canaries repeated {repeated} times: the coins had none trained on; there are some repeated "
            f"{', '.join(map(str, there)) or 'no'} times: write another repeated, or raise data.canaries.count"
        )
    return found._replace(members=int((chosen & ~np.isnan(values)).sum()))
