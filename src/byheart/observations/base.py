"""Scores every audited text with the base model: once for all methods, seeds and epochs.

The adversary needs the base model that the target was fine-tuned from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the base model"


def base(base_model: Scorer, tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the audited texts under the base model; a higher log-probability is likelier."""
    return base_model(tokens)
