"""Full fine-tuning with differential privacy (DP-SGD): no single text determines the model.

"Deep Learning with Differential Privacy", Abadi et al., CCS 2016, arXiv 1607.00133; for language models "Large Language Models
Can Be Strong Differentially Private Learners", Li et al., ICLR 2022, arXiv 2110.05679. Each text's gradient is clipped to a
norm, noise is added to their sum, and AdamW takes the step. Tied embeddings stay tied and count once.

`dp_lora` documents the unit of privacy and the adversary.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Interval

from byheart.core.config import Privacy
from byheart.lm.load import LanguageModel, TrainableModel
from byheart.methods._dp import check_no_stateful_buffers

VARIANT = "AdamW (as Li et al.) in place of SGD; noise drawn from the cell's key, not from a cryptographic generator"

PASSES = 5.0
"""Cost of training per token (forward passes), for time estimates only."""

TRAINED_BASE_WEIGHTS = "all"
"""The base model is not frozen, so it is trained in float32, and never quantized."""

PRIVATE = True
"""Plans show the privacy settings `epsilon`, `noise_multiplier`, `delta` and `clip`."""


def dp_full(
    model: LanguageModel,
    *,
    epsilon: Annotated[float, Gt(0)] | None = 8.0,
    noise_multiplier: Annotated[float, Gt(0)] | None = None,
    delta: Annotated[float, Interval(gt=0, lt=1)] | None = None,
    clip: Annotated[float, Gt(0)] = 0.1,
    learning_rate: Annotated[float, Gt(0)] = 1e-4,
) -> TrainableModel:
    """Train every weight with differential privacy. `epsilon` is the privacy loss after the last epoch; smaller is stronger.

    To set the noise directly, write `epsilon: null` and a `noise_multiplier`. `delta` null is n to the power of -1.1, where n
    is the number of training texts. Larger values of `training.batch_size` work better than without privacy.
    """
    check_no_stateful_buffers(model)
    privacy = Privacy(epsilon=epsilon, noise_multiplier=noise_multiplier, delta=delta, clip=clip)
    return TrainableModel(model.module.requires_grad_(True), learning_rate, privacy)
