"""Flush files to the disk, so that a result that is renamed afterwards is whole after a loss of power; errors of disks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
"""Error numbers of a full disk, and of a quota."""
READ_ONLY_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Error numbers of a folder that this process cannot write."""
_NO_FOLDER_FLUSH = {errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES}
"""Errors of file systems that do not flush folders on request."""


def sync_tree(folder: Path) -> None:
    """Flush all files and folders below a folder, and the folder itself."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(root) / name)
        sync(Path(root))


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if not path.is_dir() or error.errno not in _NO_FOLDER_FLUSH:
            raise
    finally:
        os.close(file)
