"""Scores the validation texts with the target model: measures its utility, not its leakage."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the target model"


def validation(model: Scorer, validation_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the validation texts under the target model; a higher log-probability is likelier."""
    return model(validation_tokens)
