"""The model under attack reads the validation texts once: how useful it is, apart from what it leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the model under attack"


def validation(model: Scorer, validation_tokens: Tokens) -> TokenStats:
    """Token statistics of the validation texts under the model that is attacked."""
    return model(validation_tokens)
