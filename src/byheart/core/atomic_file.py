"""Atomic writes of files and folders: write to a hidden name in the same folder, flush to the disk, then rename.

Without the flush, a machine that loses power may keep the new name with an empty file.
"""

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

_NO_FOLDER_FLUSH = {errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES}
"""Errors of file systems that do not flush folders on request."""


@contextlib.contextmanager
def atomic_write(place: Path, *, suffix: str = "") -> Generator[Path]:
    """Yield a temporary path to write to. It replaces `place` when the block ends, and is removed if the block fails.

    The path ends in `suffix`, for readers that choose a format by it.
    """
    temporary_path = draft_of(place, suffix=suffix)
    try:
        yield temporary_path
        sync(temporary_path)
        temporary_path.replace(place)
        sync(place.absolute().parent)
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


def rename_folder(draft: Path, place: Path) -> None:
    """Rename a complete folder to its name, on which an empty folder may lie, after its files are on the disk."""
    sync_tree(draft)
    if place.exists():
        place.rmdir()
    draft.rename(place)
    sync(place.absolute().parent)


def sync_tree(folder: Path) -> None:
    """Flush all files and folders below a folder to the disk, and the folder itself."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(root) / name)
        sync(Path(root))


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    try:
        file = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():
            return  # a folder that may be written and not read
        raise
    try:
        os.fsync(file)
    except OSError as error:
        if not path.is_dir() or error.errno not in _NO_FOLDER_FLUSH:
            raise
    finally:
        os.close(file)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _remove(path: Path) -> None:
    """Remove a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
