"""Reads the base model's activations on validation texts: once for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from byheart.observations._drift import base_activations

if TYPE_CHECKING:
    from byheart.core.activations import Activations
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "the weights of the base model"


def validation_activations_base(
    base_model: Scorer,
    validation_tokens: Tokens,
    *,
    texts: Annotated[int, Ge(1)] = 200,
    positions: Annotated[int, Ge(1)] = 4,
    top: Annotated[int, Ge(1)] = 1000,
) -> Activations:
    """Hidden states, attention weights and likely next tokens of the base model on validation texts, to compare with.

    Of at most `texts` texts, chosen by a hash of their content, at `positions` evenly spaced positions; the `top` next tokens.
    """
    return base_activations(base_model, validation_tokens, texts=texts, positions=positions, top=top)
