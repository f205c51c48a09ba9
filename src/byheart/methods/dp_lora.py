"""LoRA trained with differential privacy (DP-SGD): no single text decides what the model becomes.

"Deep Learning with Differential Privacy", Abadi et al., CCS 2016, arXiv 1607.00133, on the low-rank updates of "Differentially
Private Fine-tuning of Language Models", Yu et al., ICLR 2022, arXiv 2110.06500. Each text's gradient is clipped to a norm,
noise is added to their sum, and AdamW does the rest. `clip` is below the gradients' usual norms, so that all are clipped
("Large Language Models Can Be Strong Differentially Private Learners", Li et al., ICLR 2022, arXiv 2110.05679).

The promise is of one text, in or out: what stands in k texts, or one author's k texts, are promised k times the epsilon. The noise
is drawn from the cell's key, so that a study can be made again: it protects from whoever cannot know the key. Of a model that is
to be given away, keep key and recipe to yourself.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Interval

from byheart.core.config import Privacy
from byheart.lm.load import LanguageModel, TrainableModel
from byheart.methods._dp import check_no_stateful_buffers
from byheart.methods._lora import LoraTargets, add_lora

PASSES = 2.5
"""What training costs a token, in forward passes: for estimates of time only."""

PRIVATE = True
"""The settings `epsilon`, `noise_multiplier`, `delta` and `clip` are a promise, which plans tell."""


def dp_lora(  # noqa: PLR0913 - one name for each setting
    model: LanguageModel,
    *,
    epsilon: Annotated[float, Gt(0)] | None = 8.0,
    noise_multiplier: Annotated[float, Gt(0)] | None = None,
    delta: Annotated[float, Interval(gt=0, lt=1)] | None = None,
    clip: Annotated[float, Gt(0)] = 0.1,
    rank: Annotated[int, Ge(1)] = 16,
    alpha: Annotated[float, Gt(0)] = 32.0,
    targets: LoraTargets = "all",
    learning_rate: Annotated[float, Gt(0)] = 1e-3,
) -> TrainableModel:
    """Train low-rank updates with differential privacy: `epsilon` is spent by the last epoch, smaller protects more.

    To set the noise itself write `epsilon: null` and a `noise_multiplier`. `delta` null stands for n to the power of -1.1, n
    being the number of training texts. Larger `training.batch_size` serves better here than without privacy.
    """
    check_no_stateful_buffers(model)
    module = add_lora(model.module, rank=rank, alpha=alpha, dropout=0.0, targets=targets)
    privacy = Privacy(epsilon=epsilon, noise_multiplier=noise_multiplier, delta=delta, clip=clip)
    return TrainableModel(module, learning_rate, privacy)
