"""Compute in bfloat16, also on processors that have no instructions for it.

There torch multiplies bfloat16 matrices one number at a time, thirty to sixty times slower than float32 ones. So the factors are cast to
float32, multiplied, and the product is rounded to bfloat16. Processors with such instructions do the same: they sum products of bfloat16
numbers in float32. The results differ by the order of summation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

NATIVE = ("amx_bf16", "avx512_bf16", "bf16")
"""Processors' instructions that multiply bfloat16 numbers, as torch names them."""
FAST = (*NATIVE, "avx512_bw", "avx_ne_convert")
"""Instructions for which torch's library has fast products of bfloat16 matrices, with or without `NATIVE` ones."""

_PRODUCTS = {
    getattr(torch.ops.aten, name).default for name in ("mm", "addmm", "bmm", "baddbmm", "convolution", "linear")
}


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 numbers natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = _capabilities()
    return any(capabilities.get(name) for name in NATIVE)


def has_slow_products(device: torch.device) -> bool:
    """Whether torch has no fast products of bfloat16 matrices on this device; False where it reports nothing about the processor."""
    capabilities = _capabilities()
    return device.type == "cpu" and bool(capabilities) and not any(capabilities.get(name) for name in FAST)


def fast_products(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Return a context in which products of bfloat16 tensors are fast, for computation in this precision on this device."""
    return Float32Products() if precision == torch.bfloat16 and has_slow_products(device) else nullcontext()


class Float32Products(TorchDispatchMode):
    """Compute products of bfloat16 tensors in float32, and round them to bfloat16."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace products of bfloat16 tensors; call all other functions."""
        if func in _PRODUCTS and _is_bfloat16(args[0]):
            cast = [a.float() if _is_bfloat16(a) else a for a in args]
            return func(*cast, **(kwargs or {})).bfloat16()
        return func(*args, **(kwargs or {}))


def _is_bfloat16(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16


def _capabilities() -> Mapping[str, Any]:
    # Older torch releases do not report the CPU's capabilities.
    return getattr(torch.cpu, "get_capabilities", dict)()
