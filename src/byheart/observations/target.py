"""Scores every audited text with the target model, in one forward pass.

For every scored token, the pass gives the log-probability of the true token and statistics of the whole next-token distribution,
which is enough for most published attacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

BASE_EQUIVALENT = "base"
ADVERSARY = "log-probabilities of the target model"


def target(model: Scorer, tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the audited texts under the target model; a higher log-probability is likelier."""
    return model(tokens)
