"""Computes how far each audited text's own loss gradient points along the training's displacement, under the target model.

The adversary needs the weights before and after training. The gradient is over the parameters that the method trains: all
weights, the head, the adapter or the virtual tokens. Without a displacement (the base model, a method before its first step) every
number is 0.

An audit does not have the weights before training. Of an adapter it uses the part whose initial values are known: matrices B of
LoRA, which start at 0. Virtual tokens have no known initial values, and their displacement is measured from 0, so that it contains
the initial words.

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


def alignment(model: Scorer, tokens: Tokens, displacement_origin: Mapping[str, torch.Tensor]) -> GradientAlignment:
    """Cosine (-1 to 1) of minus each text's loss gradient after training with the displacement of the trained parameters."""
    cosine = gradient_alignment(
        model.model,
        tokens,
        displacement_origin,
        is_at_initial=False,
        budget=model.budget,
        precision=model.precision,
    )
    return GradientAlignment(cosine=cosine)
