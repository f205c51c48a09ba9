"""Scores every canary with the target model, both the canaries in the training data and the canaries that were held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

BASE_EQUIVALENT = "canaries_base"
ADVERSARY = "log-probabilities of the target model, and canaries in its training data"


def canaries(model: Scorer, canary_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the canaries under the target model; a higher log-probability is likelier."""
    return model(canary_tokens)
