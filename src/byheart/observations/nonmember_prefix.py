"""The model under attack reads every audited text after known non-members, the same for all texts.

The shots are `data.known` non-members, none of them audited, in an order that their own words and `seed` draw; a shot is
prompt and completion. All stand before the text's own prompt, BOS before all of them, once, and `separator` after each.
The tokens scored are those of `target`.

All texts have the same shots, so that their scores compare: those that do not fit the model's context beside the
longest text, virtual tokens counted, are passed over, and there are then fewer than `shots` if no other is left. A
prompt method's virtual tokens take room from epoch 1 on: near the limit epoch 0 may have a shot more.
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
ADVERSARY = "texts of the same kind that were not trained on"


def nonmember_prefix(
    model: Scorer,
    tokens: Tokens,
    known_nonmember_tokens: Tokens,
    *,
    shots: Annotated[int, Ge(1)] = 7,
    separator: str = _prefix.SEPARATOR,
    seed: Annotated[int, Ge(0)] = 0,
) -> LogProbs:
    """Log-probabilities of the audited texts after `shots` known non-members.

    Raises `DataError` where there are fewer known texts, and where none of them fits.
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
