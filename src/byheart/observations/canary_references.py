"""The model under attack reads what might have stood in the canaries' place: other fillings of their formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the model under attack, and canaries among its training texts"


def canary_references(model: Scorer, canary_reference_tokens: Tokens) -> TokenStats:
    """Token statistics of the canaries' references under the model that is attacked."""
    return model(canary_reference_tokens)
