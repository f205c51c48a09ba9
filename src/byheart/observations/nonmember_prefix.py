"""Scores every audited text with the target model after known non-members, the same non-members for all texts.

The shots are `data.known` non-members. Their order, separator and limits are those of `member_prefix`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from byheart.observations import _prefix

if TYPE_CHECKING:
    from byheart.core.types import LogProbs
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "shots + 1"
KNOWN = "shots"
ADVERSARY = "texts of the same kind that the target model was not trained on"


def nonmember_prefix(
    model: Scorer,
    tokens: Tokens,
    known_nonmember_tokens: Tokens,
    *,
    shots: Annotated[int, Ge(1)] = 7,
    separator: str = _prefix.SEPARATOR,
    seed: Annotated[int, Ge(0)] = 0,
) -> LogProbs:
    """Log-probabilities (nats) of the audited texts after `shots` known non-members; higher is likelier.

    Raises `DataError` if there are fewer known texts, or none of them fits.
    """
    return _prefix.logprobs_after_shots(
        model,
        tokens,
        known_nonmember_tokens,
        error_prefix="observations nonmember_prefix",
        shots=shots,
        separator=separator,
        seed=seed,
    )
