"""Refuse a config.json that would make transformers download code, or build a model far larger than the stored weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from byheart.core.errors import ModelError
from byheart.lm.model_folder import TensorInfo

IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Settings that choose an implementation. transformers reads a value with a slash as a Hub repository with compiled code."""
WIDTHS = ("vocab_size", "hidden_size", "intermediate_size", "n_embd", "n_inner", "d_model", "ffn_dim", "d_ff")
"""Settings that are a dimension of a weight."""
DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""Settings that are a number of layers, each of which has a tensor."""
VALUES_PER_ELEMENT = 64
"""Most values of a weight in one element of a file: eight 4-bit values in 32 bits, and a margin."""


def check_config(folder: Path, config: Mapping[str, Any], tensors: Iterable[TensorInfo]) -> None:
    """Raise `ModelError` for a config that names code on the Hub, or that does not fit the weights' number of tensors and values.

    transformers builds the model of the config before it compares it with the weights: endless work, or all memory.
    """
    shapes = [tensor.shape for tensor in tensors]
    values = VALUES_PER_ELEMENT * sum(map(math.prod, shapes))
    for part in _parts(config):
        for name in IMPLEMENTATIONS:
            if any("/" in str(value) for value in _values(part.get(name))):
                raise ModelError(
                    f"model folder {folder}: config.json takes {name} from the Hub, which runs downloaded code. Remove {name}."
                )
        for names, limit, what in ((WIDTHS, values, "values"), (DEPTHS, len(shapes), "tensors")):
            for name in names:
                number = part.get(name)
                if isinstance(number, int) and number > max(limit, 1000):
                    raise ModelError(
                        f"model folder {folder}: config.json has {name} {number}, more than the weights' {what}. "
                        "Download weights and config.json of the same model."
                    )


def _parts(config: Mapping[str, Any], depth: int = 3) -> Iterator[Mapping[str, Any]]:
    """Yield a config and the configs inside it, such as that of a multimodal model's text part."""
    yield config
    for value in config.values():
        if isinstance(value, dict) and depth:
            yield from _parts(cast("dict[str, Any]", value), depth - 1)


def _values(setting: Any) -> list[Any]:
    return list(cast("dict[str, Any]", setting).values()) if isinstance(setting, dict) else [setting]
