"""Full fine-tuning: every weight of the model is trained. Tied embeddings stay tied.

The default learning rate is the best of 2e-5, 5e-5, 1e-4 and 2e-4 by validation perplexity; see `docs/decisions.md`.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt

from byheart.lm.load import LanguageModel, TrainableModel

PASSES = 3.0
"""Cost of training per token (forward passes), for time estimates only."""

TRAINED_BASE_WEIGHTS = "all"
"""The base model is not frozen, so it is trained in float32, and never quantized."""


def full(model: LanguageModel, *, learning_rate: Annotated[float, Gt(0)] = 1e-4) -> TrainableModel:
    """Train every weight of the model."""
    model.module.requires_grad_(True)
    return TrainableModel(model.module, learning_rate)
