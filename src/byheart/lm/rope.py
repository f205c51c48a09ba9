"""Texts that must not share a batch, because the model's rotary embedding depends on the longest text of a batch.

longrope (Y. Ding et al., arXiv 2402.13753; Phi-3) uses other frequencies for a whole batch if one of its texts is longer than
the original context. Dynamic NTK scaling also keeps the frequencies of the longest earlier text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from byheart.core.errors import ModelError


def batch_classes(module: torch.nn.Module, lengths: Int[np.ndarray, " texts"]) -> Int[np.ndarray, " texts"]:
    """Return the class of each text by its length (tokens); only texts of one class may share a batch.

    Raises `ModelError` for dynamic NTK scaling and a text longer than the original context.
    """
    classes = np.zeros(len(lengths), dtype=np.intp)
    config: Any = getattr(module, "config", None)
    if config is None or not len(lengths):
        return classes
    peft_config: Any = getattr(module, "active_peft_config", None)
    positions = lengths + (getattr(peft_config, "num_virtual_tokens", 0) or 0)
    text_config = config.get_text_config()
    for parameters in _rope_parameters(text_config):
        kind = parameters.get("rope_type", parameters.get("type"))
        original = parameters.get("original_max_position_embeddings") or getattr(
            text_config, "original_max_position_embeddings", text_config.max_position_embeddings
        )
        if kind == "longrope":
            classes += positions > original
        if kind == "dynamic" and positions.max() > original:
            raise ModelError(
                f"model: its dynamic rotary scaling makes the score of a text longer than {original} tokens depend on other texts. "
                f"Set max_tokens to {original - int((positions - lengths).max())} or fewer."
            )
    return classes


def _rope_parameters(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rotary parameters of each kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if "rope_type" in parameters or "type" in parameters:
        yield parameters
    else:
        yield from (p for p in parameters.values() if isinstance(p, Mapping))
