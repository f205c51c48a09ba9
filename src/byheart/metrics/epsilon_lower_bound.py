"""Epsilon lower bound: bounds the privacy loss of one training run from guesses which canaries it was trained on.

Thomas Steinke, Milad Nasr, Matthew Jagielski. Privacy Auditing with One (1) Training Run. NeurIPS 2023.
arXiv 2305.08846. `assume: gaussian`: Saeed Mahloujifar, Luca Melis, Kamalika Chaudhuri. Auditing f-Differential Privacy
in One Run. ICML 2025. arXiv 2410.22235. Both bounds are in `byheart.stats.epsilon_bounds`.

    score(canary) = log-likelihood under the model - log-likelihood under the base model - the median of this over its kind

The highest scores are guessed to be trained on and the lowest not, in equal numbers. The setting `guesses` fixes their number.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from byheart.core.errors import DataError
from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, LogProbs
from byheart.metrics._canary_gain import canary_gain
from byheart.stats.epsilon_bounds import check_delta, correct_guesses, one_run, one_run_gaussian

RANGE = (0.0, math.inf)
FAIR_COIN = 0.5


def epsilon_lower_bound(
    canaries: LogProbs,
    canaries_base: LogProbs,
    planted: PlantedCanaries,
    *,
    delta: float = 1e-5,
    guesses: Annotated[int, Ge(1)] | None = None,
    confidence: Annotated[float, Interval(ge=0.5, lt=1)] = 0.95,
    repeated: Annotated[int, Ge(1)] = 1,
    assume: Literal["nothing", "gaussian"] = "nothing",
) -> Estimate:
    """Lower confidence bound on epsilon for one text added or removed; higher leaks more, 0 if no leakage is shown.

    The bound holds with probability `confidence` for one model and one epoch named in advance. `repeated` 4: for four copies of a text
    together. `guesses` None: half of the canaries with this number of repetitions. `assume: gaussian` is tighter and valid only for
    training with Gaussian noise. Raises `DataError` for unfair coins, a delta that is not a probability, and too few guesses to show
    leakage.
    """
    check_delta(delta)
    if planted.coin != FAIR_COIN:
        raise DataError(
            f"metrics epsilon_lower_bound: data.canaries.coin is {planted.coin:g}, but the bound requires a fair coin. Write 0.5."
        )
    chosen = np.flatnonzero(np.array(planted.repetitions) == repeated)
    guess_count = guesses or len(chosen) // 2
    bound = one_run if assume == "nothing" else one_run_gaussian
    if not guess_count <= len(chosen):
        raise DataError(
            f"metrics epsilon_lower_bound: guesses = {guess_count}, but {len(chosen)} canaries are repeated {repeated} times. "
            f"Write {len(chosen)} or fewer."
        )
    if not guess_count or not bound(len(chosen), guess_count, guess_count, delta=delta, confidence=confidence):
        raise DataError(
            f"metrics epsilon_lower_bound: {guess_count} guesses on {len(chosen)} canaries repeated {repeated} times cannot show leakage "
            f"at delta = {delta:g} even if all are correct. Raise data.canaries.count, or name fewer repetitions."
        )
    gain = canary_gain(canaries, canaries_base, planted, chosen)
    is_included = np.array(planted.included)
    correct = correct_guesses(gain[chosen], is_included[chosen], guess_count)
    included_count = int(is_included[chosen].sum())
    epsilon = bound(len(chosen), guess_count, correct, delta=delta, confidence=confidence)
    return Estimate(epsilon, members=included_count, nonmembers=len(chosen) - included_count)
