"""Head tuning: only the output head is trained.

Many models tie the head to the input embedding (GPT-2, Llama 3.2, Gemma, SmolLM2); training a tied head would train
the input embedding with it (transformers issue 11903). So the head gets weights of its own first.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt

from byheart.lm.load import LanguageModel, TrainableModel

PASSES = 0.7
"""What training costs a token, in forward passes: for estimates of time only."""


def head(model: LanguageModel, *, learning_rate: Annotated[float, Gt(0)] = 3e-4) -> TrainableModel:
    """Train the output head alone, untied from the input embedding first."""
    import torch

    module = model.module.requires_grad_(False)
    output = module.get_output_embeddings()
    if output.weight is module.get_input_embeddings().weight:
        output.weight = torch.nn.Parameter(output.weight.detach().clone())
        # Saving and loading would tie them again.
        module.config.tie_word_embeddings = False
    output.requires_grad_(True)
    return TrainableModel(module, learning_rate)
