"""Dequantize GGUF files to safetensors, once, in a cache folder.

The cache is `BYHEART_CACHE`, or the user's cache folder. Quantized GGUF weights can be neither trained nor saved.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from byheart.core.errors import ModelError
from byheart.lm.base_models import identity
from byheart.lm.from_pretrained import read_module, read_tokenizer, short_error, silence_transformers


def cache_folder() -> Path:
    """Return the folder of dequantized models."""
    configured = os.environ.get("BYHEART_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "byheart"


def find_dequantized(path: Path) -> Path | None:
    """Return the safetensors folder of a GGUF file; None if it was not dequantized yet."""
    folder = _folder(path)
    return folder if (folder / "config.json").exists() else None


def _folder(path: Path) -> Path:
    return cache_folder() / "models" / f"{path.stem}-{identity(str(path))[:16]}"


def dequantized_folder(path: Path) -> Path:
    """Return the safetensors folder of a GGUF file. The first call dequantizes, then renames the complete folder into place."""
    folder = _folder(path)
    if find_dequantized(path):
        return folder
    from safetensors import SafetensorError
    from transformers import GgufConfig

    silence_transformers()
    gguf_option = {"gguf_file": path.name}
    module = read_module(str(path), path.parent, quantization_config=GgufConfig(dequantize=True), **gguf_option)
    tokenizer = read_tokenizer(str(path), path.parent, **gguf_option)
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        module.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        if not (folder / "config.json").exists():  # else another process completed the same folder
            raise ModelError(
                f"model file {path}: dequantized weights cannot be saved in {folder.parent} ({short_error(error)}). "
                "Free space there or set BYHEART_CACHE."
            ) from error
    finally:  # also after Ctrl-C: the weights are large
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
