"""Scores every audited text with the target model after known members, the same members for all texts.

The shots are `data.known` members, none of them audited, in an order that depends on their content and `seed`. A shot is a
prompt and completion. The order is: BOS once, each shot with `separator` after it, the text's own prompt, the text. The scored
tokens are those of `target`.

All texts have the same shots, so that their scores are comparable. Shots that do not fit the model's context beside the longest
text and virtual tokens are skipped, so fewer than `shots` may remain. Virtual tokens of a prompt method take room from epoch 1
on, so near the limit epoch 0 may have one more shot.
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
ADVERSARY = "some of the training texts"


def member_prefix(
    model: Scorer,
    tokens: Tokens,
    known_member_tokens: Tokens,
    *,
    shots: Annotated[int, Ge(1)] = 7,
    separator: str = _prefix.SEPARATOR,
    seed: Annotated[int, Ge(0)] = 0,
) -> LogProbs:
    """Log-probabilities (nats) of the audited texts after `shots` known members; higher is likelier.

    Raises `DataError` if there are fewer known texts, or none of them fits.
    """
    return _prefix.logprobs_after_shots(
        model,
        tokens,
        known_member_tokens,
        error_prefix="observations member_prefix",
        shots=shots,
        separator=separator,
        seed=seed,
    )
