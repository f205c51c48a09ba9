"""Head tuning: only the output head is trained.

Many models tie the head to the input embedding (GPT-2, Llama 3.2, Gemma, SmolLM2), and training a tied head would also
train the input embedding (transformers issue 11903). So the head gets its own weights first.
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Gt

from byheart.lm.load import LanguageModel, TrainableModel

PASSES = 0.7
"""Cost of training per token (forward passes), for time estimates only."""

TRAINED_BASE_WEIGHTS = "head"
"""The output head is trained in float32, whatever the number format of the frozen trunk."""


def _cast_to_float32(_output: object, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cast the hidden states of a trunk of 16 bits to the head's float32."""
    return tuple(h.float() for h in hidden)


def head(model: LanguageModel, *, learning_rate: Annotated[float, Gt(0)] = 3e-4) -> TrainableModel:
    """Train only the output head, after untying it from the input embedding."""
    import torch

    module = model.module.requires_grad_(False)
    output = module.get_output_embeddings()
    if output.weight is module.get_input_embeddings().weight:
        output.weight = torch.nn.Parameter(output.weight.detach().clone())
        # Else saving and loading would tie them again.
        module.config.tie_word_embeddings = False
    if output.weight.dtype != torch.float32:
        output.float()  # small steps are lost in weights of 16 bits
        output.register_forward_pre_hook(_cast_to_float32)
    output.requires_grad_(True)
    return TrainableModel(module, learning_rate)
