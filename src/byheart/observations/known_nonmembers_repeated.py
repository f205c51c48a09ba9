"""The model under attack reads the known non-members twice in a row, as `repeated` does the audited texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._repetition import second_reading_logprobs

if TYPE_CHECKING:
    from byheart.core.types import LogProbs
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 2.0
ADVERSARY = "texts of the same kind that were not trained on"


def known_nonmembers_repeated(model: Scorer, known_nonmember_tokens: Tokens) -> LogProbs:
    """Log-probabilities of the known non-members after themselves, under the model that is attacked."""
    return second_reading_logprobs(model, known_nonmember_tokens)
