"""Mean losses with a lower limit, so that attacks can divide by them: of a text alone, and of the same tokens after other texts."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from byheart.core import DataError, LogProbs, ragged

SMALLEST_LOSS = 1e-6  # nats per token; below it a float32 softmax contains only rounding errors


def mean_losses(logprobs: LogProbs) -> Float[np.ndarray, " texts"]:
    """Return the mean loss of each text (nats per token, at least 1e-6)."""
    return np.maximum(-ragged.means(logprobs.logp, logprobs.starts), SMALLEST_LOSS)


def losses_by_context(attack: str, target: LogProbs, *conditioned: LogProbs) -> tuple[Float[np.ndarray, " texts"], ...]:
    """Return the mean loss of each text (nats per token, at least 1e-6) alone, then after each other context.

    Raises `DataError` if the same tokens were not scored in every context.
    """
    for other in conditioned:
        if not np.array_equal(target.starts, other.starts):
            raise DataError(
                f"attacks {attack}: {target.starts[-1]} tokens of {len(target)} texts were scored alone, but "
                f"{other.starts[-1]} tokens of {len(other)} texts after other texts. Score the same tokens in both."
            )
    return tuple(map(mean_losses, (target, *conditioned)))
