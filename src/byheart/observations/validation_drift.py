"""Measures how far fine-tuning moved the model's internal states on validation texts, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._drift import drift_from

if TYPE_CHECKING:
    from byheart.core.activations import Activations, Drift
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "the weights of the target model and of the base model"


def validation_drift(model: Scorer, validation_tokens: Tokens, validation_activations_base: Activations) -> Drift:
    """Distance of hidden states, attention and next-token distributions from the base model's on validation texts; 0 is none."""
    return drift_from(model, validation_tokens, validation_activations_base)
