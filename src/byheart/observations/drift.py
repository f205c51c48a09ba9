"""Measures how far fine-tuning moved the model's internal states on audited texts, layer by layer.

A prompt method can move the next-token distribution only through attention to its virtual tokens. The drift of each layer shows
where and how far a method moves the model, and whether it moves farther on members than on other texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._drift import drift_from

if TYPE_CHECKING:
    from byheart.core.activations import Activations, Drift
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "the weights of the target model and of the base model"


def drift(model: Scorer, tokens: Tokens, activations_base: Activations) -> Drift:
    """Distance of hidden states, attention and next-token distributions from the base model's on audited texts; 0 is none."""
    return drift_from(model, tokens, activations_base)
