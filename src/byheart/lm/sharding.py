"""Weights that are sharded over processes: which kind, gathered on the CPU, placed again, and the norm of their gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch

from byheart.core.errors import ModelError

FSDP2 = "FSDP2"
"""The only kind of sharding with an ordinary forward pass, if all processes run it together."""


def sharding_kind(module: torch.nn.Module) -> str:
    """Return the kind of sharding of a model's weights, or "" if each process has all weights."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if is_deepspeed_zero3_enabled():
        return "DeepSpeed ZeRO-3"
    if not torch.distributed.is_available():
        return ""
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    if any(isinstance(part, FullyShardedDataParallel) for part in module.modules()):
        return "FSDP1"
    sharded = [w for w in module.parameters() if isinstance(w, DTensor)]
    if not sharded:
        return ""
    # A two-dimensional mesh is FSDP combined with another kind of sharding.
    is_fsdp2 = isinstance(module, FSDPModule) and all(w.device_mesh.ndim == 1 for w in sharded)
    return FSDP2 if is_fsdp2 else "tensor parallelism"


def check_not_sharded(module: torch.nn.Module) -> None:
    """Raise `ModelError` for a model with sharded weights: FSDP, tensor parallelism or DeepSpeed ZeRO-3."""
    if kind := sharding_kind(module):
        raise ModelError(
            f"model: {kind} shards the weights over processes, and byheart reads unsharded models only. "
            "Save the whole model, then audit the saved model."
        )


def sharded_root(module: torch.nn.Module) -> Any:
    """Return the model if FSDP2 shards its weights, else None."""
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")  # a process that has not imported it has no sharded model
    return module if fsdp is not None and isinstance(module, fsdp.FSDPModule) else None


def reshard(module: torch.nn.Module) -> None:
    """Free the gathered weights that a forward pass without a backward pass leaves."""
    root = sharded_root(module)
    if root is not None:
        root.reshard()


def is_dtensor(tensor: torch.Tensor) -> bool:
    """Whether a tensor is sharded."""
    tensors: Any = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def whole_on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor on the CPU; one that is there shares its memory.

    A sharded tensor is gathered by all processes; all but the first get an empty tensor.
    """
    if not is_dtensor(tensor):
        return tensor.detach().cpu().contiguous()
    sharded: Any = tensor.detach()
    whole = sharded.full_tensor()
    return whole.cpu().contiguous() if torch.distributed.get_rank() == 0 else torch.empty(0)


def placed_as(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a copy of a complete tensor on the device of another one, sharded as that one is."""
    if not is_dtensor(like):
        return whole.to(like.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = like
    return distribute_tensor(
        whole.to(sharded.to_local().device), sharded.device_mesh, sharded.placements, src_data_rank=None
    )


def gradient_norm(gradients: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the Euclidean norm of sharded gradients together, in float32 also for gradients of 16 bits."""
    parts: list[Any] = list(gradients)
    norms = [torch.linalg.vector_norm(g.to_local(), dtype=torch.float32) for g in parts]
    square = torch.stack(norms).square().sum()
    torch.distributed.all_reduce(square)
    return square.sqrt()


def clip_sharded_gradients(parameters: Iterable[torch.nn.Parameter], maximum: float) -> float:
    """Scale the gradients to at most this norm together, and return their norm before."""
    trained = list(parameters)
    norm = gradient_norm(p.grad for p in trained if p.grad is not None)
    torch.nn.utils.clip_grads_with_norm_(trained, maximum, norm)
    return float(norm)


def mean_over_processes(number: torch.Tensor) -> float:
    """Return the mean of a number that differs between processes by rounding only, so that all have the same."""
    torch.distributed.all_reduce(number)
    return float(number) / torch.distributed.get_world_size()


def same_in_all_processes(tensor: torch.Tensor, module: torch.nn.Module) -> torch.Tensor:
    """Return the first process's values: rounding could differ by device, and another choice of tokens means other passes."""
    if sharded_root(module) is not None:
        torch.distributed.broadcast(tensor, src=0)
    return tensor
