"""The untuned base model reads every audited text once, for all methods, seeds and epochs.

Whoever uses it must own the model that the target was tuned from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byheart.core.types import TokenStats
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "log-probabilities of the untuned base model"


def base(base_model: Scorer, tokens: Tokens) -> TokenStats:
    """Token statistics of the audited texts under the untuned base model."""
    return base_model(tokens)
