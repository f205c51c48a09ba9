"""P-tuning: input embeddings before the text, computed by a small trained network.

"GPT Understands, Too", Liu et al., 2021, arXiv 2103.10385. Departure: the paper's encoder is a bidirectional LSTM with an MLP;
ours is peft's MLP (three layers, ReLU). It starts at random, and its outputs would be far from the embeddings of words. So its last
layer is initialized by least squares to output the embeddings of real words. This is exact, because the encoder has at least as
many hidden units as virtual tokens.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

from byheart.core.errors import SettingError
from byheart.lm.load import LanguageModel, TrainableModel
from byheart.methods._prompt_init import DEFAULT_INIT_TEXT, initial_token_ids, input_embeddings

REVISION = 1  # embeddings are scaled as the model scales them (Gemma)

VARIANT = (
    "an MLP computes the embeddings, in place of an LSTM with an MLP; it starts at embeddings of real words; "
    "virtual tokens only before the text"
)

PASSES = 2.4
"""Cost of training per token (forward passes), for time estimates only."""

STARTS_AT_BASE = False
"""Before the first training step, the virtual tokens already change the base model's outputs."""


def p_tuning(
    model: LanguageModel,
    *,
    virtual_tokens: Annotated[int, Ge(1)] = 16,
    hidden: Annotated[int, Ge(1)] = 256,
    text: str = DEFAULT_INIT_TEXT,
    learning_rate: Annotated[float, Gt(0)] = 1e-3,
) -> TrainableModel:
    """Train a network of `hidden` units that computes the embeddings of `virtual_tokens` positions before the text."""
    import torch
    from peft import PromptEncoderConfig, get_peft_model

    if hidden < virtual_tokens:
        raise SettingError(
            f"methods p_tuning: hidden = {hidden} is less than virtual_tokens = {virtual_tokens}. Set hidden to {virtual_tokens} or more."
        )
    words = input_embeddings(model, initial_token_ids(model, text, virtual_tokens))
    config = PromptEncoderConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=virtual_tokens,
        num_attention_heads=1,  # not used, but some configs do not have it (Mamba)
        encoder_hidden_size=hidden,
        encoder_reparameterization_type="MLP",
    )
    module = get_peft_model(model.module, config)
    encoder = module.prompt_encoder[module.active_adapter]
    with torch.no_grad():
        units = encoder.mlp_head[:-1](encoder.embedding.weight)
        last = encoder.mlp_head[-1]
        last.bias.copy_(words.mean(0))
        # In float64 on the CPU: GPUs do not support the driver gelsd, which returns the solution with minimum norm.
        targets = (words - words.mean(0)).double().cpu()
        solution = torch.linalg.lstsq(units.double().cpu(), targets, driver="gelsd").solution
        last.weight.copy_(solution.T)
    return TrainableModel(module, learning_rate)
