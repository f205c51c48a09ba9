"""Losses fit to be divided: of a text, or of the same tokens alone and after something else."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from byheart.core import DataError, LogProbs, ragged

SMALLEST_LOSS = 1e-6  # nats per token; below it a float32 softmax holds only rounding


def mean_losses(logprobs: LogProbs) -> Float[np.ndarray, " texts"]:
    """Mean loss (nats per token, 1e-6 at least) of each text."""
    return np.maximum(-ragged.means(logprobs.logp, logprobs.starts), SMALLEST_LOSS)


def losses_by_context(attack: str, target: LogProbs, *conditioned: LogProbs) -> tuple[Float[np.ndarray, " texts"], ...]:
    """Mean loss (nats per token, 1e-6 at least) of each text alone, then after each other context.

    Raises `DataError` where other tokens were scored after it.
    """
    for other in conditioned:
        if not np.array_equal(target.starts, other.starts):
            raise DataError(
                f"{attack} compares the same tokens alone and after others; alone {target.starts[-1]} tokens of "
                f"{len(target)} texts were scored, after others {other.starts[-1]} of {len(other)}: score the same ones"
            )
    return tuple(map(mean_losses, (target, *conditioned)))
