"""LoRA with differential privacy (DP-SGD): no single text determines the model.

"Deep Learning with Differential Privacy", Abadi et al., CCS 2016, arXiv 1607.00133, on the low-rank updates of "Differentially
Private Fine-tuning of Language Models", Yu et al., ICLR 2022, arXiv 2110.06500. Each text's gradient is clipped to a norm,
noise is added to their sum, and AdamW takes the step. `clip` is below the usual norms of gradients, so that all are clipped
("Large Language Models Can Be Strong Differentially Private Learners", Li et al., ICLR 2022, arXiv 2110.05679).

The guarantee is for one text, in or out of the training data. Content that occurs in k texts, or an author with k texts, has
k times the epsilon. The noise is drawn from the cell's key, so that a study is reproducible. So it protects only against
adversaries who do not know the key. If the model is published, do not publish its key and recipe.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Interval

from byheart.core.config import Privacy
from byheart.lm.load import LanguageModel, TrainableModel
from byheart.methods._dp import check_no_stateful_buffers
from byheart.methods._lora import LoraLayers, LoraTargets, add_lora

VARIANT = "AdamW (as Li et al.) in place of SGD; noise drawn from the cell's key, not from a cryptographic generator"

PASSES = 2.5
"""Cost of training per token (forward passes), for time estimates only."""

PRIVATE = True
"""Plans show the privacy settings `epsilon`, `noise_multiplier`, `delta` and `clip`."""

LAYERS_SETTING = "layers"
"""Setting with the numbers of the trained layers; plans compare it with the base model's config."""


def dp_lora(  # noqa: PLR0913 - one parameter per setting
    model: LanguageModel,
    *,
    epsilon: Annotated[float, Gt(0)] | None = 8.0,
    noise_multiplier: Annotated[float, Gt(0)] | None = None,
    delta: Annotated[float, Interval(gt=0, lt=1)] | None = None,
    clip: Annotated[float, Gt(0)] = 0.1,
    rank: Annotated[int, Ge(1)] = 16,
    alpha: Annotated[float, Gt(0)] = 32.0,
    targets: LoraTargets = "all",
    layers: LoraLayers = None,
    learning_rate: Annotated[float, Gt(0)] = 1e-3,
) -> TrainableModel:
    """Train low-rank updates with differential privacy. `epsilon` is the privacy loss after the last epoch; smaller is stronger.

    To set the noise directly, write `epsilon: null` and a `noise_multiplier`. `delta` null is n to the power of -1.1, where n
    is the number of training texts. Larger values of `training.batch_size` work better than without privacy. `layers` are the
    numbers of the blocks to adapt, from 0, in ascending order; null adapts every block.
    """
    check_no_stateful_buffers(model)
    module = add_lora(model.module, rank=rank, alpha=alpha, dropout=0.0, targets=targets, layers=layers)
    privacy = Privacy(epsilon=epsilon, noise_multiplier=noise_multiplier, delta=delta, clip=clip)
    return TrainableModel(module, learning_rate, privacy)
