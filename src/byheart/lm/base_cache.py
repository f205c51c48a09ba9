"""Cache a base model in memory, so that a process does not load it for every cell.

A cell gets a copy of the model's structure with parameters that share the cached weights. Trainable parameters get
their own weights before training, and casting a frozen parameter assigns another tensor to the copy. So training never
writes to the cached weights. If a method writes to frozen weights in place nevertheless, the checksum differs and the
base is loaded again.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from byheart.lm import load
from byheart.lm.base_models import identity
from byheart.lm.load import LanguageModel

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTEGER_DTYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class _CachedBase:
    key: tuple[str, str]
    model: LanguageModel
    checksum: tuple[int, ...]


_cached_bases: list[_CachedBase] = []
"""The cached base of this process: at most one."""


def borrow(base: str, device: torch.device) -> LanguageModel:
    """Return a copy of a base on this device. Loads the base if it is not cached, or if its cached weights changed.

    Raises `ModelError` as `load.load` does.
    """
    key = (identity(base), str(device))
    if (
        not _cached_bases
        or _cached_bases[0].key != key
        or _checksum(_cached_bases[0].model.module) != _cached_bases[0].checksum
    ):
        release()
        model = load.load(base)
        model.module.to(device)
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


def _weight_sharing_copy(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a module with new parameters that share the original weights. Tied parameters stay tied."""
    memo = {id(p): torch.nn.Parameter(p.data, requires_grad=p.requires_grad) for p in module.parameters()}
    return copy.deepcopy(module, memo)


def _checksum(module: torch.nn.Module) -> tuple[int, ...]:
    return tuple(_parameter_sums(module))


def _parameter_sums(module: torch.nn.Module) -> Iterator[int]:
    for parameter in module.parameters():
        words = parameter.detach().contiguous().view(_INTEGER_DTYPES[parameter.element_size()])
        yield int(words.sum(dtype=torch.int64))
