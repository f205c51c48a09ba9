"""P-tuning: input embeddings before the text, written by a small trained network.

"GPT Understands, Too", Liu et al., 2021, arXiv 2103.10385. peft's encoder (three layers, ReLU) starts at random and would
write embeddings unlike any word's. So its last layer is set, by least squares, to write the embeddings of real words
at the start: the encoder has at least as many hidden units as there are virtual tokens, so it can do so exactly.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

from byheart.core.errors import SettingError
from byheart.lm.load import LanguageModel, TrainableModel
from byheart.lm.prompt_init import DEFAULT_INIT_TEXT, initial_token_ids

PASSES = 2.4
"""What training costs a token, in forward passes: for estimates of time only."""


def p_tuning(
    model: LanguageModel,
    *,
    virtual_tokens: Annotated[int, Ge(1)] = 16,
    hidden: Annotated[int, Ge(1)] = 256,
    text: str = DEFAULT_INIT_TEXT,
    learning_rate: Annotated[float, Gt(0)] = 1e-3,
) -> TrainableModel:
    """Train a network of `hidden` units that writes the embeddings of `virtual_tokens` positions before the text."""
    import torch
    from peft import PromptEncoderConfig, get_peft_model

    if hidden < virtual_tokens:
        raise SettingError(
            f"methods p_tuning: hidden = {hidden} cannot write {virtual_tokens} words; set hidden to {virtual_tokens} or more"
        )
    words = model.module.get_input_embeddings().weight.detach()[initial_token_ids(model, text, virtual_tokens)]
    config = PromptEncoderConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=virtual_tokens,
        encoder_hidden_size=hidden,
        encoder_reparameterization_type="MLP",
    )
    module = get_peft_model(model.module, config)
    encoder = module.prompt_encoder[module.active_adapter]
    with torch.no_grad():
        units = encoder.mlp_head[:-1](encoder.embedding.weight)
        last = encoder.mlp_head[-1]
        last.bias.copy_(words.mean(0))
        # In float64; of all weights that write these words, the smallest: no GPU has the driver that finds these.
        wanted = (words - words.mean(0)).double().cpu()
        solved = torch.linalg.lstsq(units.double().cpu(), wanted, driver="gelsd").solution
        last.weight.copy_(solved.T)
    return TrainableModel(module, learning_rate)
