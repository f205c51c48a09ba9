"""Scores the reference canaries with the target model: other samples from the canaries' formats, never trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the target model, and canaries in its training data"


def canary_references(model: Scorer, canary_reference_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the reference canaries under the target model; a higher log-probability is likelier."""
    return model(canary_reference_tokens)
