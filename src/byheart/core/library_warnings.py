"""Silence third-party warnings: deprecation notices and the Hub's retry messages."""

from __future__ import annotations

import logging
import os
import warnings


def silence_library_warnings() -> None:
    """Silence third-party warnings in this process; errors are still raised."""
    warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # read when it is imported, which may be later
    for library in ("huggingface_hub", "bitsandbytes"):
        logging.getLogger(library).setLevel(logging.ERROR)
