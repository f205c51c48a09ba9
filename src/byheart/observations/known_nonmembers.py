"""The model under attack reads texts of the same kind that nobody trained on, none of them audited.

They say what the model does with texts it has not seen: a population to compare with, or to fit an attack on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

UNTUNED = "known_nonmembers_base"
ADVERSARY = "texts of the same kind that were not trained on"


def known_nonmembers(model: Scorer, known_nonmember_tokens: Tokens) -> TokenStats:
    """Token statistics of the known non-members under the model that is attacked."""
    return model(known_nonmember_tokens)
