"""The model under attack reads every audited text once.

One forward pass gives, for every scored token, the log-probability of the true token and what the whole next-token
distribution says: enough for most attacks of the literature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

UNTUNED = "base"
ADVERSARY = "log-probabilities of the model under attack"


def target(model: Scorer, tokens: Tokens) -> TokenStats:
    """Token statistics of the audited texts under the model that is attacked."""
    return model(tokens)
