"""Cosine of each text's loss gradient with the displacement of the trained parameters, from the initial to the trained values.

The gradients are computed at the trained or at the initial values. For the initial ones, parameter and initial value are exchanged
in place, tensor by tensor, and exchanged again on exit, which restores every bit. So memory contains the model, the initial values,
the gradient of one text, and one more tensor.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from byheart.core.errors import ModelError
from byheart.lm.load import LanguageModel
from byheart.lm.sharding import is_dtensor, reshard, sharded_root
from byheart.lm.text_gradients import reduce_text_gradients
from byheart.lm.tokens import Tokens


def gradient_alignment(
    model: LanguageModel,
    tokens: Tokens,
    initial: Mapping[str, torch.Tensor],
    *,
    is_at_initial: bool,
    budget: int,
    precision: torch.dtype,
) -> Float[np.ndarray, " texts"]:
    """Return the cosine of minus each text's loss gradient with the displacement of the parameters from their values in `initial`.

    Zero for every text where no parameter has moved, and for a text without a gradient. `is_at_initial`: the gradient is that of
    the model with the initial values. Raises `ModelError` for weights without gradients.
    """
    if not initial:
        return np.zeros(len(tokens))
    named = dict(model.module.named_parameters())
    if missing := [name for name in initial if name not in named]:
        raise ModelError(
            f"model {model.name!r}: has no parameter {missing[0]!r}. Pass the initial values of its own parameters."
        )
    if offloaded := [name for name in initial if named[name].is_meta]:
        raise ModelError(
            f"model {model.name!r}: {offloaded[0]} is offloaded, and offloaded weights have no gradient. Use a larger device, or select "
            "other attacks."
        )
    parameters, others = [named[name] for name in initial], list(initial.values())
    total = partial(_sum, is_sharded=sharded_root(model.module) is not None)
    length = math.sqrt(total(_square(p.detach() - o) for p, o in zip(parameters, others, strict=True)))
    if length == 0.0:
        return np.zeros(len(tokens))
    sign = 1.0 if is_at_initial else -1.0  # exchanged values reverse the difference

    def cosine(gradients: list[torch.Tensor | None]) -> float:
        moved = zip(parameters, others, gradients, strict=True)
        product = total(_local((p.detach() - o) * g).sum(dtype=torch.float32) for p, o, g in moved if g is not None)
        norm = math.sqrt(total(_square(g) for g in gradients if g is not None))
        return sign * product / (norm * length) if norm else 0.0

    with _exchanged(model.module, parameters, others) if is_at_initial else nullcontext():
        return reduce_text_gradients(model, tokens, parameters, cosine, budget=budget, precision=precision)


def _local(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a sharded tensor, or the tensor."""
    sharded: Any = tensor
    return sharded.to_local() if is_dtensor(tensor) else tensor


def _square(tensor: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(_local(tensor), dtype=torch.float32).square()


def _sum(numbers: Iterable[torch.Tensor], *, is_sharded: bool) -> float:
    """Return the sum of numbers, over all processes if each of them has a part of every weight."""
    parts = list(numbers)
    total = torch.stack([n.to(parts[0].device) for n in parts]).sum()  # a model may be on several devices
    if is_sharded:
        torch.distributed.all_reduce(total)
    return float(total)


@contextmanager
def _exchanged(
    module: torch.nn.Module, parameters: Sequence[torch.nn.Parameter], others: Sequence[torch.Tensor]
) -> Generator[None]:
    """Exchange the parameters' values and these tensors', and exchange them again on exit."""

    def exchange() -> None:
        reshard(module)
        with torch.no_grad():
            for parameter, other in zip(parameters, others, strict=True):
                own, its = _local(parameter.detach()), _local(other)
                kept = own.clone()
                own.copy_(its)
                its.copy_(kept)

    exchange()
    try:
        yield
    finally:
        exchange()
