"""Add LoRA to a model, for `lora` and `dp_lora`: peft's wrapper, with target layers chosen by the model's structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from byheart.core.errors import SettingError
from byheart.lm.expert_weights import expert_weights

if TYPE_CHECKING:
    import torch

LoraTargets = Literal["attention", "projection", "all"]


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
        if id(layer) not in trunk or not _is_target(name, targets) or _is_read_by_kernel(module, name):
            continue
        if isinstance(layer, (torch.nn.Linear, Conv1D)) and _output_width(layer) > 1:
            layers.append(name)
        experts += [f"{name}.{n}" for n in expert_weights(layer)]
    if not layers and not experts:
        raise SettingError(
            f"methods lora and dp_lora: targets = {targets} matches no layer of {type(module).__name__}. Write targets: all."
        )
    return layers, experts


def _is_read_by_kernel(module: torch.nn.Module, name: str) -> bool:
    """Whether a layer is the output of a Mamba block: kernels read its weight without calling it, and peft refuses it."""
    block, _, own = name.rpartition(".")
    return own == "out_proj" and hasattr(module.get_submodule(block), "A_log")


def _output_width(layer: Any) -> int:
    """Return the number of outputs of a layer; the shape of its weight does not show it if the weight is quantized."""
    return min(layer.in_features, layer.out_features) if hasattr(layer, "in_features") else min(layer.weight.shape)


def _is_target(name: str, targets: LoraTargets) -> bool:
    is_in_attention = any("attn" in part or "attention" in part for part in name.lower().split("."))
    return targets == "all" or is_in_attention == (targets == "attention")
