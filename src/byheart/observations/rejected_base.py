"""Scores the rejected response of every audited preference pair with the base model: once for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the base model, and both responses of a preference pair"


def rejected_base(base_model: Scorer, rejected_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the rejected responses under the base model; a higher log-probability is likelier."""
    return base_model(rejected_tokens)
