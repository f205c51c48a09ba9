"""Whether an environment variable prevents connections to the Hugging Face Hub."""

from __future__ import annotations

import os

OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
"""Variables that huggingface_hub, transformers and datasets read."""
_TRUE_VALUES = {"1", "ON", "YES", "TRUE"}


def hub_fix(otherwise: str) -> str:
    """Return how to fix an error of the Hub: unset the variable that prevents connections, or without one, `otherwise`."""
    names = [name for name in OFFLINE_VARIABLES if os.environ.get(name, "").upper() in _TRUE_VALUES]
    return f"Unset {names[0]}, which prevents downloads" if names else otherwise
