"""Shard one model over the processes of a launch (FSDP2), so that each device keeps a part of every weight.

"PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", Zhao et al., VLDB 2023, arXiv 2304.11277; here with
`torch.distributed.fsdp.fully_shard`. Each block of the trunk is gathered for its own forward and backward pass. All other
weights (embedding, head, prompts of a prompt method) are gathered by the first pass and freed by the step.

Departure: every process computes the same texts, so that batches, dropout and order of summation are those of one process.
The devices share memory, not work. Gradients are equal in all processes, and their mean is each of them.

Every process must make the same passes in the same order, because a pass gathers weights from all processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from byheart.core.errors import ModelError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(module: torch.nn.Module, mesh: DeviceMesh) -> None:
    """Move a model that every process has in full to the mesh's devices, and keep a part of each weight in each process.

    Raises `ModelError` for a model without a list of blocks.
    """
    from torch.distributed.fsdp import fully_shard

    from byheart.lm.trunk_and_head import trunk

    blocks = [b for part in trunk(module).children() if isinstance(part, torch.nn.ModuleList) for b in part]
    if not blocks:
        raise ModelError(
            f"machine.shard: {type(module).__name__} has no list of blocks to divide among devices. Choose another model, or remove "
            "machine.shard."
        )
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh, reshard_after_forward=False)


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
    """Return a copy on the CPU. A sharded tensor is gathered by all processes; all but the first get an empty tensor."""
    if not is_dtensor(tensor):
        return tensor.detach().cpu().clone().contiguous()
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
