"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from byheart.core.errors import SettingError


def expanded(name: Path | str) -> Path:
    """Return a path with `~` replaced by the home folder; unchanged if the named user does not exist, or has no home folder.

    Raises `SettingError` for a character that no path can have.
    """
    if "\0" in str(name):
        raise SettingError(f"path {str(name)!r}: contains a NUL character. Remove it.")
    return Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises for a user who does not exist
