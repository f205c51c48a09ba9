"""The model under attack reads every audited text twice in a row; the second reading is scored.

A text read once is likelier the second time, and one known by heart has less to gain. Both readings are of the whole,
prompt and text, parted by a line break; the same tokens are scored as in `target`. Where the context has no room for
both, the first reading loses its beginning, down to nothing for a text that fills the context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._repetition import second_reading_logprobs

if TYPE_CHECKING:
    from byheart.core.types import LogProbs
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 2.0
ADVERSARY = "log-probabilities of the model under attack"


def repeated(model: Scorer, tokens: Tokens) -> LogProbs:
    """Log-probabilities of the audited texts after themselves, under the model that is attacked."""
    return second_reading_logprobs(model, tokens)
