"""Compare a model's memory, estimated from its files' headers, with the free memory before loading the model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from byheart.core.errors import ModelError
from byheart.lm.base_models import locate, parameter_count, tensor_dtypes_and_shapes
from byheart.lm.memory_limit import available_ram

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from byheart.lm.placement import Placement

MEMORY_MARGIN = 1.2
"""Factor for activations: a batch of the token budget needs far less memory than the weights of a large model."""
QUANTIZED_WEIGHT_BYTES = {4: 0.5625, 8: 1.0}
"""Bytes per quantized weight, by number of bits. With 4 bits, 64 weights share a scale of 4 bytes."""
_GIB = 2**30


def check_memory(weights: str, placement: Placement, config: PreTrainedConfig | None) -> None:
    """Raise `ModelError` if the model needs more memory than is free."""
    tensors = model_tensors(weights)
    if tensors is None:
        return
    vocabulary = getattr(config and config.get_text_config(), "vocab_size", 0)
    needed = weight_bytes(tensors, placement.dtype.itemsize, placement.bits, vocabulary) * MEMORY_MARGIN
    for place, free in free_memory_by_place(placement, config):
        if free is not None and needed > free:
            alternatives = ["--precision bfloat16"] if placement.dtype.itemsize > 2 and not placement.bits else []  # noqa: PLR2004 - bytes
            alternatives += [] if placement.bits == 4 else [f"--quantize {4 if placement.bits else 8}"]  # noqa: PLR2004 - bits
            alternatives += ["a smaller model", "a larger machine"]
            raise ModelError(
                f"model {weights!r}: {sum(math.prod(s) for _, s in tensors) / 1e9:.2f} billion parameters need about "
                f"{needed / _GIB:.1f} GiB, but {place} has {free / _GIB:.1f} GiB free. "
                f"Use {', '.join(alternatives[:-1])} or {alternatives[-1]}."
            )


def weight_bytes(
    dtypes_and_shapes: Iterable[tuple[str, tuple[int, ...]]], bytes_per_number: int, bits: int | None, vocabulary: int
) -> float:
    """Return the bytes of tensors in memory, at `bytes_per_number` bytes per number or quantized to `bits`.

    Tensors that are quantized in the files stay so. With `bits`, matrices are quantized as bitsandbytes does: all except
    those with one row per vocabulary token.
    """
    total = 0.0
    for dtype, shape in dtypes_and_shapes:
        bytes_each = float(bytes_per_number if _is_float(dtype) else int((re.findall(r"\d+", dtype) or ["8"])[0]) / 8)
        if _is_float(dtype) and bits and len(shape) > 1 and vocabulary not in shape:
            bytes_each = QUANTIZED_WEIGHT_BYTES[bits]
        total += math.prod(shape) * bytes_each
    return total


def float_count(dtypes_and_shapes: Iterable[tuple[str, tuple[int, ...]]], bits: int | None, vocabulary: int) -> int:
    """Return the number of floating-point weights in memory; with `bits`, without the quantized ones."""
    return sum(
        math.prod(shape)
        for dtype, shape in dtypes_and_shapes
        if _is_float(dtype) and not (bits and len(shape) > 1 and vocabulary not in shape)
    )


def _is_float(dtype: str) -> bool:
    return re.fullmatch(r"B?F(16|32|64)", dtype) is not None


def free_memory_by_place(placement: Placement, config: PreTrainedConfig | None) -> Iterable[tuple[str, int | None]]:
    """Return the name and the free bytes of each memory that the model must fit; None if the system does not say."""
    import torch

    free_ram = available_ram()
    if placement.spread:
        free_by_gpu = [_free_device_memory(torch.device("cuda", i)) for i in range(torch.cuda.device_count())]
        return [
            (
                "this machine with its GPUs" if free_by_gpu else "this machine",
                free_ram and free_ram + sum(f or 0 for f in free_by_gpu),
            )
        ]
    device = (str(placement.torch_device), _free_device_memory(placement.torch_device))
    # A model reaches a GPU through the machine's RAM, unless transformers loads it tensor by tensor (device map).
    return (
        [device]
        if placement.is_device_mapped(config) and device[1] is not None
        else [("this machine", free_ram), device]
    )


def model_tensors(weights: str) -> Sequence[tuple[str, tuple[int, ...]]] | None:
    """Return dtype ("F32") and shape of each tensor of a model; None if the Hub does not say. A GGUF file's are one tensor."""
    path = locate(weights)
    if path is not None:
        return list(tensor_dtypes_and_shapes(path)) if path.is_dir() else [("F32", (parameter_count(weights) or 0,))]
    from huggingface_hub import get_safetensors_metadata, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, NotASafetensorsRepoError

    name, _, revision = weights.partition("@")
    config_path = try_to_load_from_cache(name, "config.json", revision=revision or None)
    if isinstance(config_path, str):
        return list(tensor_dtypes_and_shapes(Path(config_path).parent)) or None
    try:
        files = get_safetensors_metadata(name, revision=revision or None).files_metadata.values()
        return [(t.dtype, tuple(t.shape)) for file in files for t in file.tensors.values()]
    except (HfHubHTTPError, HFValidationError, NotASafetensorsRepoError, OSError):
        return None  # loading the model reports the error


def _free_device_memory(device: torch.device) -> int | None:
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
