"""Epsilon that a training leaks at least, from one run: how well the coins of its canaries can be guessed.

Thomas Steinke, Milad Nasr, Matthew Jagielski. Privacy Auditing with One (1) Training Run. NeurIPS 2023.
arXiv 2305.08846. `assume: gaussian`: Saeed Mahloujifar, Luca Melis, Kamalika Chaudhuri. Auditing f-Differential Privacy
in One Run. ICML 2025. arXiv 2410.22235. Both in `byheart.stats.epsilon_bounds`.

A canary's score is its log-likelihood under the model minus that under the untuned base, less the median of its kind.
The highest are guessed to be trained on, the lowest not, as many of each, their number fixed by the setting.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from byheart.core import ragged
from byheart.core.errors import DataError
from byheart.core.types import Estimate, LogProbs, PlantedCanaries
from byheart.stats.epsilon_bounds import check_delta, correct_guesses, one_run, one_run_gaussian

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
    """Epsilon that training has at least, for one text added or removed; higher leaks more, 0 where nothing is shown.

    Holds with `confidence` for one model and one epoch named beforehand; it is the lower end itself. `guesses` None: half
    of the canaries trained on once if at all. `repeated` 4: for four copies of a text together. `assume: gaussian` is
    tighter and holds only for training with Gaussian noise. Raises `DataError` for coins that were not fair, a delta that
    is no chance, and guesses so few that nothing could be shown.
    """
    check_delta(delta)
    if planted.coin != FAIR_COIN:
        raise DataError(
            f"epsilon_lower_bound takes each canary to be trained on by a fair coin; data.canaries.coin is {planted.coin:g}: write 0.5"
        )
    chosen = np.flatnonzero(np.array(planted.repetitions) == repeated)
    number = guesses or len(chosen) // 2
    bound = one_run if assume == "nothing" else one_run_gaussian
    if not number <= len(chosen):
        raise DataError(
            f"epsilon_lower_bound: {number} guesses on {len(chosen)} canaries repeated {repeated} times; write {len(chosen)} or fewer"
        )
    if not number or not bound(len(chosen), number, number, delta=delta, confidence=confidence):
        raise DataError(
            f"epsilon_lower_bound: {number} guesses on {len(chosen)} canaries repeated {repeated} times show nothing at delta = "
            f"{delta:g} even if all are right; raise data.canaries.count, or name fewer repetitions"
        )
    gain = ragged.sums(canaries.logp, canaries.starts) - ragged.sums(canaries_base.logp, canaries_base.starts)
    kinds, coins = np.array(planted.kinds), np.array(planted.included)
    for kind in set(planted.kinds):
        here = chosen[kinds[chosen] == kind]
        gain[here] -= np.median(gain[here]) if len(here) else 0.0
    right = correct_guesses(gain[chosen], coins[chosen], number)
    trained = int(coins[chosen].sum())
    found = bound(len(chosen), number, right, delta=delta, confidence=confidence)
    return Estimate(found, members=trained, nonmembers=len(chosen) - trained)
