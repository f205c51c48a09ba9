"""Scores the known non-members with the base model: once for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "texts of the same kind that the target model was not trained on, and the base model"


def known_nonmembers_base(base_model: Scorer, known_nonmember_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the known non-members under the base model; a higher log-probability is likelier."""
    return base_model(known_nonmember_tokens)
