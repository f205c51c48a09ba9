"""Shard one model over the processes of a launch (FSDP2), so that each device keeps a part of every weight.

"PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", Zhao et al., VLDB 2023, arXiv 2304.11277; here with
`torch.distributed.fsdp.fully_shard`. Each block of the trunk is gathered for its own forward and backward pass. All other
weights (embedding, head, prompts of a prompt method) are gathered by the first pass and freed by the step.

Departure: every process computes the same texts, so that batches, dropout and order of summation are those of one process.
The devices share memory, not work. Gradients are equal in all processes, and their mean is each of them.

Every process must make the same passes in the same order, because a pass gathers weights from all processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from byheart.core.errors import ModelError
from byheart.lm.trunk_and_head import trunk

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(module: torch.nn.Module, mesh: DeviceMesh) -> None:
    """Move a model that every process has in full to the mesh's devices, and keep a part of each weight in each process.

    Raises `ModelError` for a model without a list of blocks.
    """
    from torch.distributed.fsdp import fully_shard

    blocks = [b for part in trunk(module).children() if isinstance(part, torch.nn.ModuleList) for b in part]
    if not blocks:
        raise ModelError(
            f"machine.shard: {type(module).__name__} has no list of blocks to divide among devices. Choose another model, or remove "
            "machine.shard."
        )
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh, reshard_after_forward=False)
