"""A model in the middle of somebody else's training: looked at, and left exactly as it was."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from byheart.core.errors import ModelError


@contextmanager
def preserve_training_state(module: torch.nn.Module) -> Generator[None]:
    """Put back the random state of Python, NumPy and torch (the model's GPUs' too), and which weights are trained.

    Modes are put back by the scorer, part by part. Weights and gradients it never changes.
    """
    trained = {p: p.requires_grad for p in module.parameters()}
    own = set(vars(module))
    # Not all that are there: another process's GPU would be opened to read its state.
    gpus = sorted({p.device.index for p in trained if p.device.type == "cuda"})
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - another's data loader may draw from it
    try:
        with torch.random.fork_rng(gpus):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - the same
        # peft switches an adapter back on as if all of it were trained, and a prompt's by a `forward` of the instance.
        for parameter, was in trained.items():
            parameter.requires_grad_(was)
        for name in set(vars(module)) - own:
            delattr(module, name)
        # FSDP2 keeps the outermost part's weights whole after a pass, for a backward pass that does not come here.
        for part in _fsdp2_parts(module):
            part.reshard()


def as_base_model(module: torch.nn.Module) -> AbstractContextManager[None]:
    """Switch an adapter off, so that the model is its base; a model without one is left as it is."""
    return module.disable_adapter() if isinstance(module, PeftModel) else nullcontext()


def _fsdp2_parts(module: torch.nn.Module) -> list[Any]:
    """Return the parts whose weights FSDP2 shares out."""
    if not torch.distributed.is_available():
        return []
    from torch.distributed.fsdp import FSDPModule

    return [part for part in module.modules() if isinstance(part, FSDPModule)]


FSDP2 = "FSDP2"
"""The one way of sharing weights out under which a pass that all processes make together is an ordinary one."""


def sharding(module: torch.nn.Module) -> str:
    """Return by what name a model's weights are shared out, so that a process holds a part of them only; "" for whole."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if is_deepspeed_zero3_enabled():
        return "DeepSpeed ZeRO-3"
    if not torch.distributed.is_available():
        return ""
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    if any(isinstance(part, FullyShardedDataParallel) for part in module.modules()):
        return "FSDP1"
    dealt = [w for w in module.parameters() if isinstance(w, DTensor)]
    if not dealt:
        return ""
    # A mesh of two dimensions is FSDP with something else beside it.
    plain = isinstance(module, FSDPModule) and all(w.device_mesh.ndim == 1 for w in dealt)
    return FSDP2 if plain else "tensor parallelism"


def check_not_sharded(module: torch.nn.Module) -> None:
    """Raise `ModelError` where a process holds a share of the weights only: FSDP, tensor parallelism, DeepSpeed ZeRO-3."""
    if how := sharding(module):
        raise ModelError(
            f"{how} keeps a share of the weights on each process, and byheart reads whole models only; "
            "save the whole model, and audit that afterwards"
        )
