"""Scores the second of two consecutive readings of every audited text with the target model.

A text is likelier in the second reading, and a memorized text gains less. Both readings contain prompt and text, separated by a
line break; the scored tokens are those of `target`. If the context has no room for both, the first reading loses its beginning,
all of it for a text that fills the context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._repetition import second_reading_logprobs

if TYPE_CHECKING:
    from byheart.core.types import LogProbs
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 2.0
ADVERSARY = "log-probabilities of the target model"


def repeated(model: Scorer, tokens: Tokens) -> LogProbs:
    """Log-probabilities (nats) of the audited texts after a first reading, under the target model; higher is likelier."""
    return second_reading_logprobs(model, tokens)
