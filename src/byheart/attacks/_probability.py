"""Probability per token of a text above that of its neighbours, under a target model minus under a reference model."""

from __future__ import annotations

import numpy as np

from byheart.core import DataError, LogProbs, Scores, Variants, ragged


def calibrated_variation(
    attack: str, target: LogProbs, reference: LogProbs, neighbours: Variants, neighbours_reference: Variants
) -> Scores:
    """Return each text's gain over the reference model in its probability per token above its neighbours' (-1 to 1).

    Raises `DataError` if the models did not score the same tokens, or not the same neighbours.
    """
    ragged.check_same_tokens(attack, target.starts, reference.starts)
    if len(neighbours.starts) != len(target.starts) or not np.array_equal(
        neighbours.starts, neighbours_reference.starts
    ):
        raise DataError(
            f"attacks {attack}: {len(target)} texts, but {neighbours.starts[-1]} neighbours of {len(neighbours.starts) - 1} texts under "
            f"the target and {neighbours_reference.starts[-1]} of {len(neighbours_reference.starts) - 1} under the reference model. "
            "Score the same neighbours of the same texts with both models."
        )
    return _above_neighbours(target, neighbours) - _above_neighbours(reference, neighbours_reference)


def _above_neighbours(logprobs: LogProbs, neighbours: Variants) -> Scores:
    """Return each text's probability per token minus the mean of its neighbours'."""
    return np.exp(ragged.means(logprobs.logp, logprobs.starts)) - ragged.means(
        np.exp(neighbours.loglik), neighbours.starts
    )
