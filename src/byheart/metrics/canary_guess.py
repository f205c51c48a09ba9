"""Whether one canary is guessed to have been trained on: one guess a run, from which many runs give a bound on epsilon.

Matthew Jagielski, Jonathan Ullman, Alina Oprea. Auditing Differentially Private Machine Learning: How Private is Private
SGD? NeurIPS 2020. arXiv 2006.07709. A run's coin is guessed once; the table `privacy_bounds` counts guesses over the
training seeds (`byheart.stats.epsilon_bounds.many_runs`). Runs must flip coins of their own: data.canaries.by_seed.

Departs from the paper: the threshold is not fitted on runs of its own, but stands among fillings that no run was trained on.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from byheart.core import ragged
from byheart.core.errors import DataError
from byheart.core.types import Estimate, LogProbs, PlantedCanaries


def canary_guess(
    canaries: LogProbs,
    canary_references: LogProbs,
    planted: PlantedCanaries,
    *,
    repeated: Annotated[int, Ge(1)] = 1,
    share: Annotated[float, Interval(gt=0, lt=1)] = 0.05,
) -> Estimate:
    """1 where the first canary of so many repetitions is guessed to be trained on, else 0; right guesses over runs tell what leaked.

    It is where less than `share` of its references are as likely or likelier. Counts it as a member where the coin had it
    trained on, else as a non-member. Raises `DataError` where no canary with a format is to be repeated so many times, and
    where all runs share one flip of the coins.
    """
    if not planted.by_seed:
        raise DataError(
            "canary_guess is one guess a run, each with coins of its own: write by_seed: true for data.canaries"
        )
    asked = [i for i, k in enumerate(planted.kinds) if planted.repetitions[i] == repeated and k in planted.bits]
    if not asked:
        raise DataError(
            f"canary_guess: no canary with a format is repeated {repeated} times; write one of data.canaries.repetitions"
        )
    first = min(asked, key=lambda i: planted.texts.ids[i])
    others = ragged.sums(canary_references.logp, canary_references.starts)
    among = others[np.array(planted.reference_kinds) == planted.kinds[first]]
    own = ragged.sums(canaries.logp, canaries.starts)[first]
    guessed, trained = float((among >= own).mean()) < share, planted.included[first]
    return Estimate(float(guessed), members=int(trained), nonmembers=int(not trained))
