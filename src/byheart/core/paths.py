"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from byheart.core.errors import SettingError
from byheart.core.setting_values import shown_setting

LONGEST_NAME = 255
"""Bytes of the longest name of a file or folder in the usual file systems."""


def expanded(name: Path | str) -> Path:
    """Return a path with `~` replaced by the home folder; unchanged if the named user does not exist, or has no home folder.

    Raises `SettingError` for a character that no path can have, and for a name that is too long for a file.
    """
    if "\0" in str(name):
        raise SettingError(f"path {str(name)!r}: contains a NUL character. Remove it.")
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises for a user who does not exist
    longest = max((len(part.encode("utf-8", "surrogatepass")) for part in path.parts), default=0)
    if longest > LONGEST_NAME:
        raise SettingError(
            f"path {shown_setting(str(name))}: a name in it has {longest:,} bytes, and file systems allow {LONGEST_NAME}. Shorten it."
        )
    return path
