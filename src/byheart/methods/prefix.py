"""Prefix tuning: trained keys and values before the text, in every layer.

"Prefix-Tuning: Optimizing Continuous Prompts for Generation", Li and Liang, ACL 2021, arXiv 2101.00190. As in the paper
(section 7.4), training starts from the activations of real words: the keys and values of the base model for `text` are the
initial prefix. With peft's random start, SmolLM2-135M's perplexity rises from 19 to thousands. Departure: the paper
computes the prefix by an MLP during training. Ours trains keys and values directly, because an MLP cannot start from given
activations.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

from byheart.core.errors import ModelError, SettingError
from byheart.lm.load import LanguageModel, TrainableModel
from byheart.methods._prompt_init import DEFAULT_INIT_TEXT, initial_token_ids

VARIANT = (
    "keys and values are trained directly, without the re-parametrization by an MLP; they start at activations of "
    "real words"
)

PASSES = 2.2
"""Cost of training per token (forward passes), for time estimates only."""

STARTS_AT_BASE = False
"""Before the first training step, the virtual tokens already change the base model's outputs."""


def prefix(
    model: LanguageModel,
    *,
    virtual_tokens: Annotated[int, Ge(1)] = 16,
    text: str = DEFAULT_INIT_TEXT,
    learning_rate: Annotated[float, Gt(0)] = 1e-2,
) -> TrainableModel:
    """Train keys and values of `virtual_tokens` positions before the text, started from the activations of `text`."""
    import torch
    from peft import PrefixTuningConfig, get_peft_model
    from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values

    ids = initial_token_ids(model, text, virtual_tokens)
    with torch.no_grad():
        cache = getattr(model.module(input_ids=ids[None], use_cache=True), "past_key_values", None)
    if cache is None:
        raise ModelError(
            f"model {model.name!r}: {type(model.module).__name__} has no keys and values, which prefix tuning trains. Choose another "
            "method, such as prompt."
        )
    layers = [layer[:2] for layer in cache]
    kept = min(keys.shape[-2] for keys, _ in layers)
    if kept < virtual_tokens:
        raise SettingError(
            f"methods prefix: virtual_tokens = {virtual_tokens} is more than the sliding window of {model.name!r} keeps. "
            f"Set virtual_tokens to {kept} or less."
        )
    # peft's defaults are the sizes of a config, whose names differ by architecture (Falcon, MPT).
    heads, width = layers[0][0].shape[1], layers[0][0].shape[3]
    config = PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=virtual_tokens, num_attention_heads=heads, token_dim=heads * width
    )
    module = get_peft_model(model.module, config)
    initialize_kv_prefix_from_past_key_values(module, past_key_values=layers)
    return TrainableModel(module, learning_rate)
