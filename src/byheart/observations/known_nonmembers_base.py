"""The untuned base model reads the known non-members, once for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "texts of the same kind that were not trained on, and the untuned base model"


def known_nonmembers_base(base_model: Scorer, known_nonmember_tokens: Tokens) -> TokenStats:
    """Token statistics of the known non-members under the untuned base model."""
    return base_model(known_nonmember_tokens)
