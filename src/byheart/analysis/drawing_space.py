"""Address space for drawing: the JavaScript engine of vl-convert reserves 64 GiB of it, and ends the process where it may not."""

from __future__ import annotations

import importlib
from typing import Any

from byheart.core.errors import SettingError

NEEDED_GIB = 68
"""Measured with vl-convert 1.9: a process ended with 65 GiB in all and drew with 67 GiB. Nearly nothing of it is used."""


def check_drawing_space() -> None:
    """Raise `SettingError` if the system limits this process (`ulimit -v`) to less than drawing reserves."""
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:  # not Unix
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < NEEDED_GIB * 2**30:
        raise SettingError(
            f"figures: this process may use {limit / 2**30:.1f} GiB of address space (ulimit -v), and drawing reserves "
            f"{NEEDED_GIB} GiB, most of it unused. Remove the limit (ulimit -v unlimited), or limit the memory in use instead."
        )
