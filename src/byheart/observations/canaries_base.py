"""The untuned base model reads every canary once, for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the untuned base model, and canaries among the training texts"


def canaries_base(base_model: Scorer, canary_tokens: Tokens) -> TokenStats:
    """Token statistics of the canaries under the untuned base model."""
    return base_model(canary_tokens)
