"""Add LoRA to a model, for `lora` and `dp_lora`: peft's wrapper, with target layers chosen by the model's structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

LoraTargets = Literal["attention", "projection", "all"]

EXPERT_WEIGHT_NDIM = 3
"""Number of dimensions of a weight that contains a layer's experts: experts, out, in."""


def add_lora(
    module: torch.nn.Module, *, rank: int, alpha: float, dropout: float, targets: LoraTargets
) -> torch.nn.Module:
    """Return the module with low-rank updates beside its weights. Only the updates are trainable."""
    from peft import LoraConfig, get_peft_model

    layers, experts = _target_weights(module, targets)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=layers,
        target_parameters=experts or None,
        fan_in_fan_out=any(type(module.get_submodule(n)).__name__ == "Conv1D" for n in layers),
    )
    return get_peft_model(module, config)


def _target_weights(module: torch.nn.Module, targets: LoraTargets) -> tuple[list[str], list[str]]:
    """Return the names of the target linear layers, and of the target three-dimensional expert weights."""
    import torch
    from transformers.pytorch_utils import Conv1D

    trunk = {id(m) for m in module.base_model.modules()}
    layers: list[str] = []
    experts: list[str] = []
    for name, layer in module.named_modules():
        if id(layer) not in trunk or not _is_target(name, targets):
            continue
        if isinstance(layer, (torch.nn.Linear, Conv1D)) and min(layer.weight.shape) > 1:
            layers.append(name)
        experts += [f"{name}.{n}" for n, p in layer.named_parameters(recurse=False) if p.ndim == EXPERT_WEIGHT_NDIM]
    return layers, experts


def _is_target(name: str, targets: LoraTargets) -> bool:
    is_in_attention = any("attn" in part or "attention" in part for part in name.lower().split("."))
    return targets == "all" or is_in_attention == (targets == "attention")
