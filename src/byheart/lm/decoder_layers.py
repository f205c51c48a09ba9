"""The numbered layers (blocks) of a model's decoder, and the check of settings that choose some of them.

Layer 0 is the first after the embedding, as in peft's `layers_to_transform` and in the names of stored weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from byheart.core.errors import SettingError

if TYPE_CHECKING:
    import torch


def decoder_layers(module: torch.nn.Module, where: str) -> list[torch.nn.Module]:
    """Return the layers of the decoder; of a model that also reads images or sound, those of its text part.

    Raises `SettingError`, with `where` as the place, for a model without one list of layers.
    """
    import torch

    model: Any = module
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = [c for c in model.get_decoder().children() if isinstance(c, torch.nn.ModuleList) and len(c) == depth]
    if len(lists) != 1:
        raise SettingError(f"{where}: {type(module).__name__} has no single list of layers. Remove layers.")
    return list(lists[0])


def check_layers(where: str, layers: Sequence[int], depth: int) -> None:
    """Raise `SettingError` unless these are different layers of a model with `depth` layers, in ascending order.

    One order for each choice: the order of a list is part of a result's key.
    """
    shown = f"{where}: layers = {list(layers)}"
    if list(layers) != sorted(set(layers)) or not layers:
        problem = "is empty" if not layers else "is not in ascending order, or has a layer twice"
        raise SettingError(f"{shown}: {problem}. Write each layer once, such as [0, 1, 2], or null for every layer.")
    if layers[-1] >= depth:
        raise SettingError(
            f"{shown}: the model has {depth} layers, and no layer {layers[-1]}. Write numbers from 0 to {depth - 1}."
        )
