"""Error numbers of disks that cannot be written."""

from __future__ import annotations

import errno

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
"""Error numbers of a full disk, and of a quota."""
READ_ONLY_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Error numbers of a folder that this process cannot write."""
