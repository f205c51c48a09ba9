"""LoRA: low-rank updates beside frozen weights.

"LoRA: Low-Rank Adaptation of Large Language Models", Hu et al., ICLR 2022, arXiv 2106.09685: h = Wx + (alpha/rank) B A x,
B starts at zero, so that training starts exactly at the base model.

Target layers are determined by the model's structure. Every linear layer of the trunk (nn.Linear, GPT-2's Conv1D, and the
three-dimensional weights of the experts in mixture-of-experts layers) is "attention" if a parent module is an attention
block, else "projection" (the feed-forward block). Routers and gates with a single output are not adapted, nor is the output layer of
a Mamba block, whose weight is read without calling the layer.

With `layers`, only these blocks of the model get low-rank updates, and all other blocks stay those of the base model. "LoRA-Leak:
Membership Inference Attacks Against LoRA Fine-tuned Language Models", Ran et al., 2025, arXiv 2507.18302, excludes layers from
training as a defense; only its abstract could be read, so which layers to exclude is the study's choice.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Interval

from byheart.lm.load import LanguageModel, TrainableModel
from byheart.methods._lora import LoraLayers, LoraTargets, add_lora

VARIANT = "all linear layers of the trunk by default, in place of two attention matrices"

PASSES = 2.0
"""Cost of training per token (forward passes), for time estimates only."""

LAYERS_SETTING = "layers"
"""Setting with the numbers of the trained layers; plans compare it with the base model's config."""


def lora(
    model: LanguageModel,
    *,
    rank: Annotated[int, Ge(1)] = 16,
    alpha: Annotated[float, Gt(0)] = 32.0,
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0,
    targets: LoraTargets = "all",
    layers: LoraLayers = None,
    learning_rate: Annotated[float, Gt(0)] = 1e-3,
) -> TrainableModel:
    """Train low-rank updates of the trunk's linear layers. peft supports no dropout for experts and raises an error.

    `layers` are the numbers of the blocks to adapt, from 0, in ascending order; null adapts every block.
    """
    module = add_lora(model.module, rank=rank, alpha=alpha, dropout=dropout, targets=targets, layers=layers)
    return TrainableModel(module, learning_rate)
