"""The model under attack reads every canary once, those that were trained on and those that were held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

UNTUNED = "canaries_base"
ADVERSARY = "log-probabilities of the model under attack, and canaries among its training texts"


def canaries(model: Scorer, canary_tokens: Tokens) -> TokenStats:
    """Token statistics of the canaries under the model that is attacked."""
    return model(canary_tokens)
