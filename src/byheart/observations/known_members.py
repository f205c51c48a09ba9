"""The model under attack reads training texts that the adversary knows to be such, none of them audited.

They calibrate attacks that are fitted: whoever uses them must own some of the training texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

UNTUNED = "known_members_base"
ADVERSARY = "some of the training texts"


def known_members(model: Scorer, known_member_tokens: Tokens) -> TokenStats:
    """Token statistics of the known training texts under the model that is attacked."""
    return model(known_member_tokens)
