"""Add LoRA to a model, for `lora` and `dp_lora`: peft's wrapper, with target layers chosen by the model's structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge

from byheart.core.errors import SettingError
from byheart.lm.decoder_layers import check_layers, decoder_layers
from byheart.lm.expert_weights import expert_weights

if TYPE_CHECKING:
    import torch

LoraTargets = Literal["attention", "projection", "all"]
LoraLayers = tuple[Annotated[int, Ge(0)], ...] | None

_WHERE = "methods lora and dp_lora"


def add_lora(
    module: torch.nn.Module,
    *,
    rank: int,
    alpha: float,
    dropout: float,
    targets: LoraTargets,
    layers: LoraLayers,
) -> torch.nn.Module:
    """Return the module with low-rank updates beside its weights. Only the updates are trainable."""
    from peft import LoraConfig, get_peft_model

    linear, experts = _target_weights(module, targets, layers)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=linear,
        target_parameters=experts or None,
        fan_in_fan_out=any(type(module.get_submodule(n)).__name__ == "Conv1D" for n in linear),
    )
    return get_peft_model(module, config)


def _target_weights(module: torch.nn.Module, targets: LoraTargets, layers: LoraLayers) -> tuple[list[str], list[str]]:
    """Return the names of the target linear layers, and of the target three-dimensional expert weights.

    peft's `layers_to_transform` applies neither to complete names of modules nor to expert weights, so layers are selected here.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    adapted = {id(m) for part in _adapted_parts(module, layers) for m in part.modules()}
    linear: list[str] = []
    experts: list[str] = []
    for name, layer in module.named_modules():
        if id(layer) not in adapted or not _is_target(name, targets) or _is_read_by_kernel(module, name):
            continue
        if isinstance(layer, (torch.nn.Linear, Conv1D)) and _output_width(layer) > 1:
            linear.append(name)
        experts += [f"{name}.{n}" for n in expert_weights(layer)]
    if not linear and not experts:
        place, fix = ("", "") if layers is None else (f" in layers {list(layers)}", ", or remove layers")
        raise SettingError(
            f"{_WHERE}: targets = {targets} matches no layer of {type(module).__name__}{place}. Write targets: all{fix}."
        )
    return linear, experts


def _adapted_parts(module: Any, layers: LoraLayers) -> list[torch.nn.Module]:
    """Return the parts of the model in which LoRA adapts layers: the trunk, or the set layers of the decoder."""
    if layers is None:
        return [module.base_model]
    blocks = decoder_layers(module, _WHERE)
    check_layers(_WHERE, layers, len(blocks))
    return [blocks[i] for i in layers]


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
