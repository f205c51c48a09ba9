"""Compute logits in float32 from a bfloat16 model: products of bfloat16 numbers, summed and returned in float32.

bfloat16 has 8 significant bits, so logits of 16 to 32 that are returned in bfloat16 are multiples of 1/8, and the largest
ones are often equal. A rank that counts the strictly likelier tokens would then count a true token that ties with the
maximum as predicted correctly. Processors sum such products in float32 in any case; only the result was rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from byheart.lm.bfloat16 import has_slow_products

ROWS_PER_CAST = 8192
"""Vocabulary rows of bfloat16 weights that are cast to float32 at a time, where the processor has no mixed product."""


class Float32Logits(TorchFunctionMode):
    """Return every linear product with one output per token of the vocabulary in float32, whatever its inputs are."""

    def __init__(self, vocabulary: int) -> None:
        """`vocabulary` is the number of logits of a position."""
        super().__init__()
        self.vocabulary = vocabulary

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace the head's product; call all other functions."""
        if func is functional.linear and args[1].shape[0] == self.vocabulary:
            return float32_linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def float32_linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:  # noqa: A002 - torch's name
    """Return `torch.nn.functional.linear` in float32. Inputs may be rounded to bfloat16, sums and results are not."""
    rows_RD = input.reshape(-1, input.shape[-1])
    with torch.autocast(input.device.type, enabled=False):
        if weight.dtype != torch.float32 and input.is_cuda:
            logits_RV = torch.mm(rows_RD.to(weight.dtype), weight.T, out_dtype=torch.float32)
        else:
            with _fast_float32_products():
                logits_RV = _float32_product(rows_RD.float(), weight)
        if bias is not None:
            logits_RV += bias.float()
    return logits_RV.view(*input.shape[:-1], -1)


def _float32_product(rows_RD: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if weight.dtype == torch.float32:
        if not has_slow_products(weight.device):
            return functional.linear(rows_RD, weight)
        # This processor does not round the factors of float32 products.
        rows_RD, weight = rows_RD.bfloat16().float(), weight.bfloat16()
    parts = weight.split(ROWS_PER_CAST)
    return torch.cat([functional.linear(rows_RD, part_VD.float()) for part_VD in parts], dim=1)


@contextmanager
def _fast_float32_products() -> Generator[None]:
    """Let processors round the factors of float32 products to bfloat16 (CPU) or TF32 (CUDA); the sums are in float32."""
    # By backend: torch refuses to read its older, common setting if another library has set one backend's.
    settings: tuple[tuple[Any, str], ...] = (
        (torch.backends.mkldnn.matmul, "bf16"),
        (torch.backends.cuda.matmul, "tf32"),
    )
    before = [backend.fp32_precision for backend, _ in settings]
    for backend, precision in settings:
        backend.fp32_precision = precision
    try:
        yield
    finally:
        for (backend, _), precision in zip(settings, before, strict=True):
            backend.fp32_precision = precision
