"""Head tuning: only the output head is trained.

Many models tie the head to the input embedding (GPT-2, Llama 3.2, Gemma, SmolLM2), and training a tied head would also
train the input embedding (transformers issue 11903). So the head gets its own weights first.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt

from byheart.lm.load import LanguageModel, TrainableModel

PASSES = 0.7
"""Cost of training per token (forward passes), for time estimates only."""


def head(model: LanguageModel, *, learning_rate: Annotated[float, Gt(0)] = 3e-4) -> TrainableModel:
    """Train only the output head, after untying it from the input embedding."""
    import torch

    module = model.module.requires_grad_(False)
    output = module.get_output_embeddings()
    if output.weight is module.get_input_embeddings().weight:
        output.weight = torch.nn.Parameter(output.weight.detach().clone())
        # Else saving and loading would tie them again.
        module.config.tie_word_embeddings = False
    output.requires_grad_(True)
    return TrainableModel(module, learning_rate)
