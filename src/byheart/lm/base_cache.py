"""Cache a base model in memory, so that a process does not load it for every cell.

A cell gets a copy of the model's structure with parameters that share the cached weights. Trainable parameters get
their own weights before training, and casting a frozen parameter assigns another tensor to the copy. So training never
writes to the cached weights. If a method writes to frozen weights in place nevertheless, the checksum differs and the
base is loaded again. Quantized weights are never trained, and copies share them with their scales.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from byheart.core.config import FLOAT32_BASE, BaseFormat
from byheart.core.errors import ModelError
from byheart.lm import load
from byheart.lm.base_models import identity
from byheart.lm.expert_weights import expert_weights
from byheart.lm.load import LanguageModel
from byheart.lm.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTEGER_DTYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class _CachedBase:
    key: tuple[str, str, BaseFormat]
    model: LanguageModel
    checksum: tuple[int, ...]


_cached_bases: list[_CachedBase] = []
"""The cached base of this process: at most one."""


def borrow(base: str, device: torch.device, *, base_format: BaseFormat = FLOAT32_BASE) -> LanguageModel:
    """Return a copy of a base in this format on this device. Loads it if it is not cached, or if its cached weights changed.

    Raises `ModelError` as `load.load` does.
    """
    key = (identity(base), str(device), base_format)
    if (
        not _cached_bases
        or _cached_bases[0].key != key
        or _checksum(_cached_bases[0].model.module) != _cached_bases[0].checksum
    ):
        release()
        model = load_in_format(base, device, base_format)
        _cached_bases.append(_CachedBase(key, model, _checksum(model.module)))
    cached = _cached_bases[0].model
    return LanguageModel(_weight_sharing_copy(cached.module), cached.tokenizer, base)


def copy_shared_trainable_weights(module: torch.nn.Module) -> None:
    """Copy the weights of trained parameters that share memory with the cached base."""
    shared = {p.data_ptr() for cached in _cached_bases for p in cached.model.module.parameters()}
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.data_ptr() in shared:
            parameter.data = parameter.data.clone()


def release() -> None:
    """Remove the cached base from memory."""
    _cached_bases.clear()


def load_in_format(base: str, device: torch.device, base_format: BaseFormat) -> LanguageModel:
    """Load a base model in this number format on this device; raises `ModelError` as `load.load` does."""
    if base_format == FLOAT32_BASE:
        model = load.load(base)
        model.module.to(device)
        return model
    dtype = getattr(torch, base_format.base_precision)
    placement = Placement(dtype=dtype, device=str(device), bits=base_format.quantize)
    options = placement.from_pretrained_options(base, load.causal_config(base))
    model = load.load(base, load_options=options)
    if base_format.quantize is None:
        model.module.to(device)
        return model
    for name, layer in model.module.named_modules():
        if expert_weights(layer):
            raise ModelError(
                f"model {base!r}: bitsandbytes does not quantize the weights of the experts in {name}. Remove machine.quantize, "
                "and set machine.base_precision to bfloat16."
            )
    for layer in model.module.modules():
        # bitsandbytes moves an 8-bit weight's scales to its layer in the first forward pass, which copies would repeat.
        if getattr(getattr(layer, "weight", None), "CB", None) is not None:
            layer.init_8bit_state()
    return model


def _weight_sharing_copy(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a module with new parameters that share the original weights. Tied parameters stay tied."""
    memo: dict[int, object] = {
        id(p): torch.nn.Parameter(p.data, requires_grad=p.requires_grad) if p.is_floating_point() else p
        for p in module.parameters()
    }
    for layer in module.modules():
        eight_bit = getattr(layer, "state", None)
        scales = (getattr(layer, "quant_state", None), getattr(eight_bit, "CB", None), getattr(eight_bit, "SCB", None))
        memo |= {id(s): s for s in scales if s is not None}
    return copy.deepcopy(module, memo)


def _checksum(module: torch.nn.Module) -> tuple[int, ...]:
    return tuple(_parameter_sums(module))


def _parameter_sums(module: torch.nn.Module) -> Iterator[int]:
    for parameter in module.parameters():
        words = parameter.detach().contiguous().view(_INTEGER_DTYPES[parameter.element_size()])
        yield int(words.sum(dtype=torch.int64))
