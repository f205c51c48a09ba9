"""Atomic writes of files and folders: write to a hidden name in the same folder, then rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Generator
from pathlib import Path

from byheart.core.machine_identity import is_running, machine_identity


@contextlib.contextmanager
def atomic_write(place: Path, *, suffix: str = "") -> Generator[Path]:
    """Yield a temporary path to write to. It replaces `place` when the block ends, and is removed if the block fails.

    The path ends in `suffix`, for readers that choose a format by it.
    """
    temporary_path = draft_of(place, suffix=suffix)
    try:
        yield temporary_path
        temporary_path.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):  # the folder may not exist
            temporary_path.unlink()
        raise


def draft_of(place: Path, *, suffix: str = "") -> Path:
    """Return a new hidden path beside a file or folder, for content that is not complete.

    Removes drafts of `place` that killed processes of this machine left. Raises `IsADirectoryError` for a path without a name.
    """
    if not place.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    beginning = f".byheart-{_short_hash(place.name)}-{_short_hash(machine_identity())}-"
    with contextlib.suppress(OSError):  # the folder may not exist
        for left in place.parent.glob(f"{beginning}*"):
            process = left.name.removeprefix(beginning).partition("-")[0]
            if process.isdecimal() and not is_running(int(process)):
                _remove(left)
    return place.with_name(f"{beginning}{os.getpid()}-{uuid.uuid4().hex[:12]}{suffix}")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _remove(path: Path) -> None:
    """Remove a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
