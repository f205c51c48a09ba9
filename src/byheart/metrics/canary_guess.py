"""Canary guess: guesses whether one canary was trained on; the guesses of many runs give a lower bound on epsilon.

Matthew Jagielski, Jonathan Ullman, Alina Oprea. Auditing Differentially Private Machine Learning: How Private is Private
SGD? NeurIPS 2020. arXiv 2006.07709.

    guess = 1 if the share of references with a log-likelihood >= the canary's is below `share`, else 0

Each run has one coin flip and one guess. The table `privacy_bounds` counts correct guesses over the training seeds
(`byheart.stats.epsilon_bounds.many_runs`). Every run must flip its own coins: data.canaries.by_seed.

Departure from the paper: the threshold is not fitted on separate runs, but is a quantile of the references, which no run was
trained on.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from byheart.core import ragged
from byheart.core.errors import DataError
from byheart.core.split import PlantedCanaries
from byheart.core.types import Estimate, LogProbs

RANGE = (0.0, 1.0)


def canary_guess(
    canaries: LogProbs,
    canary_references: LogProbs,
    planted: PlantedCanaries,
    *,
    repeated: Annotated[int, Ge(1)] = 1,
    share: Annotated[float, Interval(gt=0, lt=1)] = 0.05,
) -> Estimate:
    """1 if the canary is guessed to be trained on, else 0; a higher share of correct guesses over runs is more leaked.

    The canary is the first with a format that is repeated `repeated` times. The guess is 1 if less than `share` of its references are at
    least as likely. It counts as a member if it was trained on, else as a non-member. Raises `DataError` if no such canary exists, or if
    all runs share one coin flip.
    """
    if not planted.by_seed:
        raise DataError(
            "metrics canary_guess: all runs use the same coin flips. Write by_seed: true in data.canaries, so that each run flips its own."
        )
    candidates = [
        i for i, kind in enumerate(planted.kinds) if planted.repetitions[i] == repeated and kind in planted.bits
    ]
    if not candidates:
        raise DataError(
            f"metrics canary_guess: no canary with a format is repeated {repeated} times. Set repeated to one of data.canaries.repetitions."
        )
    first = min(candidates, key=lambda i: planted.texts.ids[i])
    reference_loglik = ragged.sums(canary_references.logp, canary_references.starts)
    kind_references = reference_loglik[np.array(planted.reference_kinds) == planted.kinds[first]]
    loglik = ragged.sums(canaries.logp, canaries.starts)[first]
    is_guessed, is_trained = float((kind_references >= loglik).mean()) < share, planted.included[first]
    return Estimate(float(is_guessed), members=int(is_trained), nonmembers=int(not is_trained))
