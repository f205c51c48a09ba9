"""How much memory a model takes, from its files' headers, against what there is; asked before anything is loaded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from byheart.core.errors import ModelError
from byheart.lm.base_models import locate, parameter_count, tensor_dtypes_and_shapes

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from byheart.lm.placement import Placement

MEMORY_MARGIN = 1.2
"""Weights and what passes through them: a batch of the token budget takes far less than the weights of a large model."""
QUANTIZED_WEIGHT_BYTES = {4: 0.5625, 8: 1.0}
"""Bytes of a weight in so many bits; of 4 bits, 64 share a scale of 4 bytes."""
_GIB = 2**30


def check_memory(weights: str, placement: Placement, config: PreTrainedConfig | None) -> None:
    """Raise `ModelError` where the weights are larger than the memory that is free."""
    held = _model_tensors(weights)
    if held is None:
        return
    vocabulary = getattr(config and config.get_text_config(), "vocab_size", 0)
    needed = weight_bytes(held, placement.dtype.itemsize, placement.bits, vocabulary) * MEMORY_MARGIN
    for place, free in _free_memory_by_place(placement, config):
        if free is not None and needed > free:
            ways = ["--precision bfloat16"] if placement.dtype.itemsize > 2 and not placement.bits else []  # noqa: PLR2004 - bytes
            ways += [] if placement.bits == 4 else [f"--quantize {4 if placement.bits else 8}"]  # noqa: PLR2004 - bits
            ways += ["a smaller model", "a larger machine"]
            raise ModelError(
                f"model {weights!r} has {sum(math.prod(s) for _, s in held) / 1e9:.2f} billion parameters and needs about "
                f"{needed / _GIB:.1f} GiB; {place} has {free / _GIB:.1f} GiB free; take {', '.join(ways[:-1])} or {ways[-1]}"
            )


def weight_bytes(
    dtypes_and_shapes: Iterable[tuple[str, tuple[int, ...]]], bytes_per_number: int, bits: int | None, vocabulary: int
) -> float:
    """Return bytes of tensors, by kind and shape, once their numbers are loaded in `itemsize` bytes, or packed in bits.

    What is packed in the files stays so. With `bits`, matrices are packed but for those with a row for each token of the
    vocabulary, as bitsandbytes packs them.
    """
    total = 0.0
    for kind, shape in dtypes_and_shapes:
        whole = re.fullmatch(r"B?F(16|32|64)", kind)
        each = float(bytes_per_number if whole else int((re.findall(r"\d+", kind) or ["8"])[0]) / 8)
        if whole and bits and len(shape) > 1 and vocabulary not in shape:
            each = QUANTIZED_WEIGHT_BYTES[bits]
        total += math.prod(shape) * each
    return total


def _free_memory_by_place(placement: Placement, config: PreTrainedConfig | None) -> Iterable[tuple[str, int | None]]:
    """Return in words where a model must have room, and the bytes that are free there."""
    import torch

    here = _free_ram()
    if placement.spread:
        every = [_free_device_memory(torch.device("cuda", i)) for i in range(torch.cuda.device_count())]
        return [("this machine with its GPUs" if every else "this machine", here and here + sum(f or 0 for f in every))]
    on = (str(placement.torch_device), _free_device_memory(placement.torch_device))
    # On its way to a GPU a model passes through the machine's own memory, unless transformers sends it there piece by piece.
    return [on] if placement.is_device_mapped(config) and on[1] is not None else [("this machine", here), on]


def _model_tensors(weights: str) -> Sequence[tuple[str, tuple[int, ...]]] | None:
    path = locate(weights)
    if path is not None:
        return list(tensor_dtypes_and_shapes(path)) if path.is_dir() else [("F32", (parameter_count(weights) or 0,))]
    from huggingface_hub import get_safetensors_metadata, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, NotASafetensorsRepoError

    name, _, revision = weights.partition("@")
    kept = try_to_load_from_cache(name, "config.json", revision=revision or None)
    if isinstance(kept, str):
        return list(tensor_dtypes_and_shapes(Path(kept).parent)) or None
    try:
        files = get_safetensors_metadata(name, revision=revision or None).files_metadata.values()
        return [(t.dtype, tuple(t.shape)) for file in files for t in file.tensors.values()]
    except (HfHubHTTPError, HFValidationError, NotASafetensorsRepoError, OSError):
        return None  # loading it says what is wrong


def _free_ram() -> int | None:
    """Return bytes of memory that are free; None where the system does not say."""
    try:
        import psutil
    except ImportError:
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return None
    return psutil.virtual_memory().available


def _free_device_memory(device: torch.device) -> int | None:
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
