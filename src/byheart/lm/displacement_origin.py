"""Values from which the displacement of trained parameters is measured.

A study copies the trained parameters before training. The file of a finished adapter has only the trained values: peft starts the
matrices B of LoRA at 0, so their displacement is known; the initial values of LoRA's matrices A and of virtual tokens are not.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel

from byheart.lm.train import trainable_parameters

_LORA_B = (".lora_B.", ".lora_embedding_B.")


def initial_values(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of the trained parameters by name, before training; those of sharded parameters are sharded."""
    return {name: p.detach().clone() for name, p in trainable_parameters(module).items()}


def adapter_origin(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return zeros for LoRA's matrices B or the parameters of the virtual tokens, by name; {} for a model without either."""
    if not isinstance(module, PeftModel):
        return {}
    peft_model: Any = module
    active = set(peft_model.active_adapters)
    parts = ("prompt_encoder.",) if peft_model.active_peft_config.is_prompt_learning else _LORA_B
    return {
        name: torch.zeros_like(p, requires_grad=False)
        for name, p in module.named_parameters()
        if any(part in name for part in parts) and active & set(name.split("."))
    }
