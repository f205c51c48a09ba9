"""A base that a process keeps in memory from cell to cell, instead of loading it for each.

A cell works on a copy of the model's structure whose parameters share the held weights. What a method makes trainable
gets weights of its own before training, and frozen weights are cast by giving the copy's parameter another tensor: so
the held weights are never written. Should a method write to frozen weights in place all the same, a checksum tells, and
the base is loaded again.
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
"""The one base of this process, if any."""


def borrow(base: str, device: torch.device) -> LanguageModel:
    """Return a base on this device to work on; loaded if it is not the one held, or if its weights were written to.

    Raises `ModelError` as `load.load` does.
    """
    name = (identity(base), str(device))
    if (
        not _cached_bases
        or _cached_bases[0].key != name
        or _checksum(_cached_bases[0].model.module) != _cached_bases[0].checksum
    ):
        release()
        model = load.load(base)
        model.module.to(device)
        _cached_bases.append(_CachedBase(name, model, _checksum(model.module)))
    held = _cached_bases[0].model
    return LanguageModel(_weight_sharing_copy(held.module), held.tokenizer, base)


def copy_shared_trainable_weights(module: torch.nn.Module) -> None:
    """Give what is trained weights of its own, where they are those of the held base."""
    shared = {p.data_ptr() for held in _cached_bases for p in held.model.module.parameters()}
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.data_ptr() in shared:
            parameter.data = parameter.data.clone()


def release() -> None:
    """Keep no base any longer."""
    _cached_bases.clear()


def _weight_sharing_copy(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a module whose parameters are its own but share their weights; what is tied stays tied."""
    memo = {id(p): torch.nn.Parameter(p.data, requires_grad=p.requires_grad) for p in module.parameters()}
    return copy.deepcopy(module, memo)


def _checksum(module: torch.nn.Module) -> tuple[int, ...]:
    return tuple(_parameter_sums(module))


def _parameter_sums(module: torch.nn.Module) -> Iterator[int]:
    for parameter in module.parameters():
        words = parameter.detach().contiguous().view(_INTEGER_DTYPES[parameter.element_size()])
        yield int(words.sum(dtype=torch.int64))
