"""Weights of mixture-of-experts layers: transformers keeps all experts of a layer in one weight with three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

EXPERT_WEIGHT_NDIM = 3
"""Number of dimensions of a weight that contains a layer's experts: experts, out, in."""


def expert_weights(layer: torch.nn.Module) -> list[str]:
    """Return the names of a layer's own weights that contain experts; the kernels of a convolution (Mamba) are none."""
    if hasattr(layer, "kernel_size"):
        return []
    return [n for n, p in layer.named_parameters(recurse=False) if p.ndim == EXPERT_WEIGHT_NDIM]
