"""A model in the middle of somebody else's training: looked at, and left exactly as it was."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from peft import PeftModel

from byheart.errors import ModelError


@contextmanager
def untouched(module: torch.nn.Module) -> Generator[None]:
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


def untuned(module: torch.nn.Module) -> AbstractContextManager[None]:
    """Switch an adapter off, so that the model is its base; a model without one is left as it is."""
    return module.disable_adapter() if isinstance(module, PeftModel) else nullcontext()


def refuse_sharded(module: torch.nn.Module) -> None:
    """Raise `ModelError` where a process holds a share of the weights only: FSDP, tensor parallelism, DeepSpeed ZeRO-3."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    how = "DeepSpeed ZeRO-3" if is_deepspeed_zero3_enabled() else ""
    if torch.distributed.is_available():
        from torch.distributed.fsdp import FullyShardedDataParallel
        from torch.distributed.tensor import DTensor

        if any(isinstance(part, FullyShardedDataParallel) for part in module.modules()):
            how = "FSDP"
        elif any(isinstance(weight, DTensor) for weight in module.parameters()):
            how = "FSDP or tensor parallelism"
    if how:
        raise ModelError(
            f"{how} keeps a share of the weights on each process, and byheart reads whole models only; "
            "save the whole model, and audit that afterwards"
        )
