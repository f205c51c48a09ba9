"""Scores the second of two consecutive readings of the known non-members, as `repeated` does for the audited texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._repetition import second_reading_logprobs

if TYPE_CHECKING:
    from byheart.core.types import LogProbs
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 2.0
ADVERSARY = "texts of the same kind that the target model was not trained on"


def known_nonmembers_repeated(model: Scorer, known_nonmember_tokens: Tokens) -> LogProbs:
    """Log-probabilities (nats) of the known non-members after a first reading, under the target model; higher is likelier."""
    return second_reading_logprobs(model, known_nonmember_tokens)
