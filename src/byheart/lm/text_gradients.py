"""One number of each text's loss gradient over some of a model's parameters, one text at a time.

`torch.autograd.grad` computes the gradients and does not change any parameter's `.grad`; those of sharded parameters exist only
as `.grad`, which is removed. The loss is the training loss: the mean over the text's scored tokens. The forward pass is the
scoring pass (evaluation mode, no dropout) with gradients. If the trunk's hidden states are cached, only the head runs.

Texts run one at a time, because the gradient of a batch is a sum that does not determine the gradients of its texts. Memory
contains the gradient of one text.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import cross_entropy

from byheart.core.errors import ModelError
from byheart.lm.devices import device_of
from byheart.lm.forward import cached_hidden_states, hidden_rows, scoring_mode
from byheart.lm.from_pretrained import short_error
from byheart.lm.load import LanguageModel
from byheart.lm.sharding import sharded_root
from byheart.lm.tokens import Tokens
from byheart.lm.trunk_and_head import raw_logits, reduce_gradients


def reduce_text_gradients(
    model: LanguageModel,
    tokens: Tokens,
    parameters: Sequence[torch.nn.Parameter],
    reduce: Callable[[list[torch.Tensor | None]], float],
    *,
    budget: int,
    precision: torch.dtype,
) -> Float[np.ndarray, " texts"]:
    """Return the number that `reduce` computes from each text's gradients, which it gets in the order of `parameters`.

    The gradient of a parameter that a text does not use is zeros, or None if the weights are sharded. The gradients of sharded
    parameters are sharded. Raises `ModelError` for weights without gradients, and for a number that is not finite.
    """
    cached = None if model.hidden is None else cached_hidden_states(model, tokens, budget, precision)
    device, is_sharded = device_of(model.module), sharded_root(model.module) is not None
    values = np.empty(len(tokens))
    with scoring_mode(model.module, precision), torch.enable_grad(), _requiring_gradients(parameters):
        for i in range(len(tokens)):
            text = np.array([i])
            positions = tokens.scored_positions(text)
            hidden_RD = (
                hidden_rows(model.module, tokens, text)
                if cached is None
                else cached[torch.from_numpy(positions)].to(device)
            )
            loss = cross_entropy(
                raw_logits(model.module, hidden_RD).float(), torch.from_numpy(tokens.scored_ids[positions]).to(device)
            )
            gradients = _sharded_gradients if is_sharded else _gradients
            values[i] = gradients(model, parameters, loss, hidden_RD, reduce)
    if not np.isfinite(values).all():
        raise ModelError(
            f"model {model.name!r}: gradients are not finite. Try precision float32, or check the model's weights."
        )
    return values


def _sharded_gradients(
    model: LanguageModel,
    parameters: Sequence[torch.nn.Parameter],
    loss: torch.Tensor,
    hidden_RD: torch.Tensor,
    reduce: Callable[[list[torch.Tensor | None]], float],
) -> float:
    loss.backward()
    if not hidden_RD.requires_grad:
        reduce_gradients(model.module, hidden_RD)
    value = reduce([p.grad for p in parameters])
    for parameter in parameters:
        parameter.grad = None
    return value


def _gradients(
    model: LanguageModel,
    parameters: Sequence[torch.nn.Parameter],
    loss: torch.Tensor,
    _hidden_RD: torch.Tensor,
    reduce: Callable[[list[torch.Tensor | None]], float],
) -> float:
    try:
        # An expert that receives no token has a zero gradient.
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # quantized kernels without a backward pass, weights that were offloaded since
        raise ModelError(
            f"model {model.name!r}: no gradient can be computed through its weights ({short_error(error)}). Load it without "
            "quantization or offloading, or select attacks that need no gradient."
        ) from error
    return reduce(list(gradients))


@contextmanager
def _requiring_gradients(parameters: Sequence[torch.nn.Parameter]) -> Generator[None]:
    """Let these parameters require gradients; a loaded adapter's do not."""
    required = [p.requires_grad for p in parameters]
    for parameter in parameters:
        parameter.requires_grad_(requires_grad=True)
    try:
        yield
    finally:
        for parameter, was_required in zip(parameters, required, strict=True):
            parameter.requires_grad_(was_required)
