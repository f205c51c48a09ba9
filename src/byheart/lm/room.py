"""How much memory a model takes, from its files' headers, against what there is; asked before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from byheart.errors import ModelError
from byheart.lm.bases import locate, parameters

if TYPE_CHECKING:
    import torch

SPARE = 1.2
"""Weights and what passes through them: a batch of the token budget takes far less than the weights of a large model."""
_GIB = 2**30


def refuse_large(weights: str, bytes_each: int, device: torch.device) -> None:
    """Raise `ModelError` where the weights, `bytes_each` a parameter, are larger than the memory that is free."""
    count = _parameters(weights)
    if count is None:
        return
    needed = count * bytes_each * SPARE
    # On its way to a GPU a model passes through the machine's own memory.
    for place, free in (("this machine", _free()), (str(device), _free_of(device))):
        if free is not None and needed > free:
            smaller = "--precision bfloat16 halves it" if bytes_each > 2 else "take a smaller model"  # noqa: PLR2004 - bytes
            raise ModelError(
                f"model {weights!r} has {count / 1e9:.2f} billion parameters and needs about {needed / _GIB:.1f} GiB; "
                f"{place} has {free / _GIB:.1f} GiB free; {smaller}, or use a larger machine"
            )


def _parameters(weights: str) -> int | None:
    if locate(weights) is not None:
        return parameters(weights)
    from huggingface_hub import get_safetensors_metadata, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, NotASafetensorsRepoError

    name, _, revision = weights.partition("@")
    kept = try_to_load_from_cache(name, "config.json", revision=revision or None)
    if isinstance(kept, str):
        return parameters(str(Path(kept).parent)) or None
    try:
        return sum(get_safetensors_metadata(name, revision=revision or None).parameter_count.values())
    except (HfHubHTTPError, HFValidationError, NotASafetensorsRepoError, OSError):
        return None  # loading it says what is wrong


def _free() -> int | None:
    """Return bytes of memory that are free; None where the system does not say."""
    try:
        import psutil
    except ImportError:
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return None
    return psutil.virtual_memory().available


def _free_of(device: torch.device) -> int | None:
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
