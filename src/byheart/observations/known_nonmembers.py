"""Scores known non-members with the target model: texts of the same kind that were never trained on, none of them audited.

They show how the model scores unseen texts: a population for comparison, or texts to fit an attack on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

BASE_EQUIVALENT = "known_nonmembers_base"
ADVERSARY = "texts of the same kind that the target model was not trained on"


def known_nonmembers(model: Scorer, known_nonmember_tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the known non-members under the target model; a higher log-probability is likelier."""
    return model(known_nonmember_tokens)
