"""Scores training texts that the adversary knows, none of them audited, with the target model.

Attacks that are fitted need them; the adversary must have some of the training texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

BASE_EQUIVALENT = "known_members_base"
ADVERSARY = "some of the training texts"


def known_members(model: Scorer, known_member_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the known members under the target model; a higher log-probability is likelier."""
    return model(known_member_tokens)
