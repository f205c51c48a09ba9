"""Whether a process of a claim or of a temporary folder still runs, if it is a process of this machine."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import uuid
from pathlib import Path


@functools.cache
def machine_identity() -> str:
    """Return the host's name and a hash that differs between hosts of one name, boots, and containers.

    Process ids of one identity are comparable.
    """
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        unique = boot.read_text().strip() + str(namespace.readlink())
    except (FileNotFoundError, PermissionError):  # not Linux, or hidden
        unique = str(uuid.getnode())
    return f"{platform.node()}.{hashlib.sha256(unique.encode()).hexdigest()[:8]}"


def process_start(process: int) -> str:
    """Return when a process of this machine started, in clock ticks since boot; "" if it has ended, "?" if unknown.

    Raises `OSError` if the system does not answer, for example with too many open files: the process may run.
    """
    try:
        # The name in parentheses may contain spaces. State is the first field after it, the start time the twentieth.
        content = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")  # a name may be any bytes
        fields = content.rpartition(")")[2].split()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() or not _has_process(process) else "?"
    except ProcessLookupError:  # it ended while the file was read
        return ""
    except PermissionError:  # another user's
        return "?"
    return "" if fields[0] in {"Z", "X"} else fields[19]


def is_running(process: int, start: object = None) -> bool:
    """Whether a process of this machine runs. With `start`, a later process of the same number is another one."""
    found = process_start(process)
    return found == "?" or (found != "" and (start is None or found == start))


def _has_process(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
