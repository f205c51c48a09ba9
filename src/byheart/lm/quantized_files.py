"""Models whose files contain quantized weights (GPTQ, AWQ, compressed-tensors, ...): transformers loads them with other packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byheart.core.errors import ModelError

FIX = "audit the weights that were quantized"


def check_quantization_settings(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise `ModelError` for a config.json whose `quantization_config` names no method: transformers does not load it."""
    stored = config.get("quantization_config")
    if stored is None:
        return
    named = isinstance(stored, dict) and any(stored.get(n) for n in ("quant_method", "load_in_4bit", "load_in_8bit"))
    if not named:
        raise ModelError(
            f"model folder {folder}: config.json has the quantization_config {json.dumps(stored)[:60]}, which names no quant_method. "
            "Remove it if the weights are not quantized, or add the method that quantized them."
        )


def quantization_method(config: Any) -> str:
    """Return the name of the method that quantized a model's files, such as "gptq"; "" for other files."""
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return ""
    settings: dict[str, Any] = stored if isinstance(stored, dict) else stored.to_dict()
    method = settings.get("quant_method") or "bitsandbytes"
    return str(getattr(method, "value", method))


def check_method_known(name: str, config: Any) -> None:
    """Raise `ModelError` for a method that transformers does not know, because transformers reads such files as if unquantized."""
    import transformers
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = quantization_method(config)
    if method and method != "bitsandbytes" and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise ModelError(
            f"model {name!r}: is quantized with {method!r}, which transformers {transformers.__version__} does not load. Upgrade "
            f"transformers, or {FIX}."
        )


def dequantize_when_loaded(config: Any) -> None:
    """Make transformers dequantize weights of compressed-tensors when it loads them, and not in the first forward pass.

    peft attaches no adapter to packed weights.
    """
    stored = getattr(config, "quantization_config", None)
    if isinstance(stored, dict) and quantization_method(config) == "compressed-tensors":
        config.quantization_config = {**stored, "dequantize": True}


def load_failure(name: str, method: str, error: Exception, reason: str) -> ModelError:
    """Return the error for quantized files that transformers does not load here; its first sentence, `reason`, names the package."""
    problem = "needs a package that is not installed" if isinstance(error, ImportError) else "cannot be loaded here"
    fix = "Install the package" if isinstance(error, ImportError) else "Choose another machine or other versions"
    return ModelError(f"model {name!r}: is quantized with {method} and {problem} ({reason}). {fix}, or {FIX}.")
