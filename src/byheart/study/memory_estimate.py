"""Memory that training a cell takes, estimated from the base model's config and the headers of its files, and whether it is free."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from byheart.core.config import Machine
from byheart.core.dependencies import INITIAL_INPUTS
from byheart.core.errors import SettingError
from byheart.lm.base_models import locate
from byheart.study.base_formats import default_training_precision, trained_base_weights
from byheart.study.planned_cell import PlannedCell
from byheart.study.reference_models import needs_reference

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

TRAINED_WEIGHT_BYTES = 16
"""Bytes of a trained weight in float32: the weight, its gradient, and AdamW's two moments."""
THIS_MACHINE = "this machine"
"""Name of the main memory in `free_memory_by_place`."""
LIBRARY_BYTES = 2**29
"""Memory of Python, torch, transformers and peft with a loaded model's code, as measured on a CPU."""
_GIB = 2**30


class WorkerMemory(NamedTuple):
    """Memory of a worker that trains a cell (bytes); without its activations if these are unknown."""

    size: float
    has_activations: bool


def worker_memory(planned: PlannedCell, machine: Machine) -> WorkerMemory | None:
    """Return the memory of a worker that trains this cell: weights, activations and libraries; per device with `machine.shard`.

    Activations are those of the largest batch; all texts count as `data.max_tokens` long. Adapters and the gradients of single texts
    (private training) are not counted. None if the model's size is unknown.
    """
    weights = memory_bytes(planned, machine)
    if weights is None:
        return None
    activations = _activation_bytes(planned, machine)
    return WorkerMemory(weights + (activations or 0) + LIBRARY_BYTES, activations is not None)


def _activation_bytes(planned: PlannedCell, machine: Machine) -> float | None:
    """Return the bytes that a training step's largest batch keeps for its backward pass; None if they are unknown."""
    import torch

    from byheart.lm.batching import batch_budget
    from byheart.lm.devices import torch_device
    from byheart.lm.train import training_dtype

    cell, device = planned.cell, torch_device(machine.device)
    length, budget = cell.data.max_tokens, batch_budget(device, machine.token_budget)
    texts = min(cell.training.batch_size, max(1, budget // length))
    precision = training_dtype(default_training_precision(machine, cell.base_format), device)
    weight_dtypes = {"all": torch.float32, "head": None}
    return _batch_bytes(
        cell.base, texts, length, precision, weight_dtypes.get(trained_base_weights(planned), precision)
    )


@functools.cache
def _batch_bytes(
    base: str, texts: int, length: int, precision: torch.dtype, weight_dtype: torch.dtype | None
) -> float | None:
    """Return the bytes of activations of a batch; cells that differ in seed or data share them. No `weight_dtype`: the head alone."""
    from byheart.lm.activation_memory import logit_block_bytes, training_activation_bytes

    config = _language_config(base)
    if config is None:
        return None
    if weight_dtype is None:
        return logit_block_bytes(texts * length, config.vocab_size)
    return training_activation_bytes(config, texts=texts, length=length, precision=precision, weight_dtype=weight_dtype)


def memory_bytes(planned: PlannedCell, machine: Machine) -> float | None:
    """Return the bytes of the weights that training this cell takes: the base model, and a copy where training needs one.

    Weights that the method trains count with gradients and AdamW's moments. Adapters are not counted. With `machine.shard`, the
    bytes of one of the devices. None if the sizes are unknown before the base model is downloaded or dequantized.
    """
    from byheart.lm.devices import torch_device
    from byheart.lm.memory_check import float_count, weight_bytes
    from byheart.lm.train import training_dtype

    base_format = planned.cell.base_format
    tensors, vocabulary, _ = _tensors(planned.cell.base)
    if not tensors or (base_format.quantize and len(tensors) == 1):
        return None
    itemsize = 4 if base_format.base_precision == "float32" else 2
    base = weight_bytes(tensors, itemsize, base_format.quantize, vocabulary)
    trained, bytes_per_weight = trained_base_weights(planned), _trained_weight_bytes(planned)
    # Without its own tensor, the head is tied to the embedding, whose shape it has.
    head = max((math.prod(s) for _, s in tensors if vocabulary in s), default=0)
    if machine.shard > 1:
        trained_count = {"all": float_count(tensors, None, vocabulary), "head": head}.get(trained, 0)
        kept = bytes_per_weight * trained_count + (base if trained != "all" else 0)
        return kept / machine.shard + _gathered_bytes(planned, trained, itemsize, head)
    # A reference model is trained beside the target. Frozen weights of only one of them are cast at a time.
    models = 1 + any(map(needs_reference, planned.observations))
    if trained == "all":
        return base + models * bytes_per_weight * float_count(tensors, None, vocabulary)
    if trained == "head":
        return base + models * bytes_per_weight * head
    precision = training_dtype(default_training_precision(machine, base_format), torch_device(machine.device))
    is_cast = str(precision) != f"torch.{base_format.base_precision}"
    return base + is_cast * precision.itemsize * float_count(tensors, base_format.quantize, vocabulary)


def _trained_weight_bytes(planned: PlannedCell) -> int:
    """Return the bytes of a trained weight; observations of the training's displacement keep its initial value, too."""
    keeps_initial = any(set(INITIAL_INPUTS) & set(o.needs) for o in planned.observations)
    return TRAINED_WEIGHT_BYTES + 4 * keeps_initial


def _gathered_bytes(planned: PlannedCell, trained: str, itemsize: int, head: int) -> float:
    """Return the bytes of whole weights that a device has at once under sharding: embedding, head and two blocks, with gradients."""
    tensors, vocabulary, layers = _tensors(planned.cell.base)
    outer = sum(math.prod(s) for _, s in tensors if vocabulary in s)
    block = (sum(math.prod(s) for _, s in tensors) - outer) / layers
    gradients = {"all": outer + block, "head": head}.get(trained, 0)
    untied = head if trained == "head" and sum(vocabulary in s for _, s in tensors) == 1 else 0
    return itemsize * (outer + 2 * block) + 4 * (untied + gradients)


def check_fits(machine: Machine, planned: Sequence[PlannedCell], remaining: Sequence[float]) -> None:
    """Raise `SettingError` for a cell with remaining work that needs more memory than this machine has free.

    Workers of a cluster have other memory, so only studies that run here are checked.
    """
    from byheart.lm.memory_check import free_memory_by_place
    from byheart.lm.placement import Placement

    unfinished = [p for p, work in zip(planned, remaining, strict=True) if work]
    if machine.executor != "local" or not unfinished:
        return
    places = list(free_memory_by_place(Placement(device=machine.device), None))
    for cell in unfinished:
        for place, free in places:
            needed = _needed_bytes(cell, machine, place)
            if needed is not None and free is not None and needed > free:
                raise SettingError(
                    f"methods {cell.cell.method.name}: training {cell.cell.base!r} takes about {needed / _GIB:.1f} GiB without adapters "
                    f"and activations, but {place} has {free / _GIB:.1f} GiB free. {_advice(cell)}"
                )


def _needed_bytes(planned: PlannedCell, machine: Machine, place: str) -> float | None:
    """Return the bytes that training takes in the memory of this name.

    Under sharding the machine's memory has one whole model while it is loaded, and the parts of processes without a GPU.
    """
    needed = memory_bytes(planned, machine)
    if needed is None or machine.shard == 1 or place != THIS_MACHINE:
        return needed
    from byheart.lm.devices import torch_device
    from byheart.lm.memory_check import weight_bytes

    tensors, vocabulary, _ = _tensors(planned.cell.base)
    itemsize = 4 if planned.cell.base_format.base_precision == "float32" else 2
    is_cpu = torch_device(machine.device).type == "cpu"
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", machine.shard))
    return weight_bytes(tensors, itemsize, None, vocabulary) + is_cpu * processes * needed


def _advice(planned: PlannedCell) -> str:
    base_format, trained = planned.cell.base_format, trained_base_weights(planned)
    if trained == "all":
        return "Choose lora with machine.base_precision: bfloat16 or machine.quantize: 4, a smaller model or a larger machine."
    fixes = ["machine.base_precision: bfloat16"] if base_format.base_precision == "float32" else []
    fixes += [] if trained or base_format.quantize == 4 else ["machine.quantize: 4"]  # noqa: PLR2004 - bits
    start = f"Set {' or '.join(fixes)}, or choose" if fixes else "Choose"
    return f"{start} a smaller model or a larger machine."


@functools.cache
def _tensors(base: str) -> tuple[tuple[tuple[str, tuple[int, ...]], ...], int, int]:
    """Return dtype and shape of each tensor of a base model, () if unknown; rows of its embedding; its number of blocks."""
    from byheart.lm.memory_check import model_tensors

    config = _language_config(base)
    vocabulary, blocks = getattr(config, "vocab_size", 0), getattr(config, "num_hidden_layers", 1)
    return tuple(model_tensors(str(_dequantized(base) or base)) or ()), vocabulary, blocks


def _language_config(base: str) -> PreTrainedConfig | None:
    """Return the config of a base model's language model; None for a GGUF file that is not dequantized yet."""
    from byheart.lm.load import causal_config

    folder = _dequantized(base)
    config = causal_config(base, str(folder) if folder else None)
    return config and config.get_text_config()


def _dequantized(base: str) -> Path | None:
    """Return the folder of a GGUF file's dequantized weights; None if that folder is missing, or the base model is no file."""
    from byheart.lm.gguf import find_dequantized

    path = locate(base)
    return find_dequantized(path) if path is not None and path.is_file() else None
