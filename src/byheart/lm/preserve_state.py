"""Evaluate a model in the middle of another program's training, and restore its state exactly."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from byheart.lm.adapter_files import base_change
from byheart.lm.sharding import reshard


@contextmanager
def preserve_training_state(module: torch.nn.Module) -> Generator[None]:
    """Restore the random state of Python, NumPy and torch (also on the model's GPUs), and each weight's `requires_grad`.

    The scorer restores training modes, module by module. Weights and gradients never change; on a CPU, bitsandbytes would otherwise
    repack 4-bit weights in the first pass in evaluation mode.
    """
    requires_grad_before = {p: p.requires_grad for p in module.parameters()}
    attributes = set(vars(module))
    repacked_later: list[Any] = [part for part in module.modules() if _repacks_4bit_weights(part)]
    # Only the model's GPUs: reading the state of another process's GPU would open it.
    gpus = sorted({p.device.index for p in requires_grad_before if p.device.type == "cuda"})
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the training's data loader may use it
    try:
        for part in repacked_later:
            part.support_avx512bf16_for_cpu = False
        with torch.random.fork_rng(gpus):
            yield
    finally:
        for part in repacked_later:
            part.support_avx512bf16_for_cpu = True
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - the same
        # peft re-enables an adapter with every weight trainable, and a prompt's adapter with a `forward` on the instance.
        for parameter, required_grad in requires_grad_before.items():
            parameter.requires_grad_(required_grad)
        for name in set(vars(module)) - attributes:
            delattr(module, name)
        # FSDP2 leaves the root module unsharded after a forward pass, for a backward pass that does not follow here.
        for part in module.modules():
            reshard(part)


def _repacks_4bit_weights(part: Any) -> bool:
    """Whether a layer of bitsandbytes repacks its 4-bit weights for this CPU in its next pass in evaluation mode.

    The backward pass and `state_dict` of version 0.50 then have other weights.
    """
    state = getattr(getattr(part, "weight", None), "quant_state", None)
    return bool(vars(part).get("support_avx512bf16_for_cpu")) and not getattr(state, "packing_format_for_cpu", False)


def as_base_model(module: torch.nn.Module) -> AbstractContextManager[None]:
    """Disable the adapter, so that the model is its base model. A model without an adapter is unchanged."""
    return module.disable_adapter() if isinstance(module, PeftModel) else nullcontext()


def why_no_base(module: torch.nn.Module) -> str:
    """Return why disabling a model's adapters does not give its base model; "" if it does, or if there is no adapter."""
    if not isinstance(module, PeftModel):
        return ""
    if any(isinstance(part, BaseTunerLayer) and part.merged for part in module.modules()):
        return "an adapter is merged into the weights, and disabling it would unmerge it"
    return next((reason for reason in map(base_change, module.peft_config.values()) if reason), "")
