"""Computes how far each audited text's loss gradient *before* training points along the training's displacement.

The adversary needs the weights before and after training. The gradient is that of the model with the initial values of the
parameters that the method trains: for full fine-tuning the base model, for virtual tokens the initial words. Without a
displacement (the base model, a method before its first step) every number is 0.

An audit has the initial values of LoRA's matrices B only, which start at 0; the matrices A are the trained ones.

Texts are processed one at a time, forward and backward: about three forward passes, and memory for two more copies of the trained
parameters (initial values, gradient).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from byheart.core.evidence import GradientAlignment
from byheart.lm.gradient_alignment import gradient_alignment

if TYPE_CHECKING:
    import torch

    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 3.0
ADVERSARY = "the weights of the target model before and after training"


def initial_alignment(model: Scorer, tokens: Tokens, initial_weights: Mapping[str, torch.Tensor]) -> GradientAlignment:
    """Cosine (-1 to 1) of minus each text's loss gradient before training with the displacement of the trained parameters."""
    cosine = gradient_alignment(
        model.model,
        tokens,
        initial_weights,
        is_at_initial=True,
        budget=model.budget,
        precision=model.precision,
    )
    return GradientAlignment(cosine=cosine)
