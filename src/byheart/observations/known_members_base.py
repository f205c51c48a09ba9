"""Scores the training texts that the adversary knows with the base model: once for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "some of the training texts, and the base model"


def known_members_base(base_model: Scorer, known_member_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the known members under the base model; a higher log-probability is likelier."""
    return base_model(known_member_tokens)
