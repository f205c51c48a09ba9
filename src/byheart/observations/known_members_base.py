"""The untuned base model reads the training texts that the adversary knows, once for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "some of the training texts, and the untuned base model"


def known_members_base(base_model: Scorer, known_member_tokens: Tokens) -> TokenStats:
    """Token statistics of the known training texts under the untuned base model."""
    return base_model(known_member_tokens)
