"""Scores the rejected response of every audited preference pair with the target model, in one forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

BASE_EQUIVALENT = "rejected_base"
ADVERSARY = "log-probabilities of the target model, and both responses of a preference pair"


def rejected(model: Scorer, rejected_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the rejected responses under the target model; a higher log-probability is likelier."""
    return model(rejected_tokens)
