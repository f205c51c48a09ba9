"""Number formats and attention kernels during training; scoring between steps uses the model's own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting

from byheart.lm.devices import device_of
from byheart.lm.load import LanguageModel
from byheart.lm.sharding import sharded_root
from byheart.lm.trunk_and_head import causal_lm

MAX_EAGER_TOKENS = 384
"""Maximum text length (tokens) at which eager attention is faster than fused attention in bfloat16 on a CPU."""


def output_head(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Yield the parameters of the output head."""
    yield from module.get_output_embeddings().parameters()


@contextmanager
def cast_frozen_weights(model: LanguageModel, precision: torch.dtype) -> Generator[None]:
    """Cast frozen parameters to the training precision once; restore the original tensors on exit.

    A trunk with cached hidden states does not run and is not cast. Adapters stay in float32; peft's casting of their
    inputs is disabled, because autocast would cast them back. On exit the model is in evaluation mode, as observations
    require. Sharded weights have the training precision already (`study/sharded_checks.py`).
    """
    module = model.module
    parameters = module.parameters() if model.hidden is None else output_head(module)
    is_cast = sharded_root(module) is None
    full_precision = {p: p.data for p in parameters if is_cast and not p.requires_grad and p.is_floating_point()}
    try:
        for parameter in full_precision:
            parameter.data = parameter.data.to(precision)  # no copy of weights that have this precision
        with disable_input_dtype_casting(module, precision != torch.float32):
            yield
    finally:
        for parameter, weights in full_precision.items():
            parameter.data = weights
        module.eval()


@contextmanager
def eager_attention(module: torch.nn.Module, precision: torch.dtype, longest_text: int) -> Generator[None]:
    """Use eager attention while short texts train in bfloat16 on a CPU, where fused attention's backward pass takes twice as long.

    Scoring between epochs uses the model's configured attention.
    """
    causal_model: Any = causal_lm(module)
    is_fused = getattr(causal_model.config, "_attn_implementation", None) == "sdpa"
    is_eager = (
        is_fused
        and precision == torch.bfloat16
        and device_of(module).type == "cpu"
        and longest_text <= MAX_EAGER_TOKENS
    )
    if is_eager:
        causal_model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if is_eager:
            causal_model.set_attn_implementation("sdpa")
