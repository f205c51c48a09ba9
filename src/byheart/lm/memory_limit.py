"""Main memory that this process can still take: of the machine, and under the limits of its control groups.

Containers and jobs of a cluster limit memory by control groups. The machine's free memory does not show these limits, and a process
that exceeds one is killed. https://docs.kernel.org/admin-guide/cgroup-v2.html (version 2) and cgroup-v1/memory.html (version 1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
NO_LIMIT = 1 << 60
"""Limits from here on (bytes) are no limit: version 1 writes a number near 2^63."""


def available_ram() -> int | None:
    """Return the bytes of RAM that are available to this process, or None if the system does not report it."""
    available = [bytes_left for bytes_left in (_machine_ram(), control_group_ram()) if bytes_left is not None]
    return min(available, default=None)


def resident_bytes() -> int:
    """Return the bytes of RAM that this process takes; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _machine_ram() -> int | None:
    try:
        import psutil
    except ImportError:
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return None
    return psutil.virtual_memory().available


def control_group_ram(root: Path = ROOT) -> int | None:
    """Return the bytes that the control groups of this process still allow; None if none has a limit.

    Files in the page cache that were not used lately do not count, because the system drops them first. `root` is where the
    system's files are.
    """
    left = [_bytes_left(folder) for folder in _control_groups(root)]
    return min((max(0, bytes_left) for bytes_left in left if bytes_left is not None), default=None)


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that limit this process's memory, with all groups above them."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return
    mounts = _mounts(root)
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = mounts.get("memory" if controllers else "")
        if mount is None:
            continue
        group = mount / path.lstrip("/")
        # In a container, the path is the host's and does not exist; the mount is then the container's own group.
        group = group if os.path.isdir(group) else mount  # noqa: PTH112 - False, not an error, below an unreadable folder
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _mounts(root: Path) -> dict[str, Path]:
    """Return where control groups are mounted: those of version 2 by "", the memory controller of version 1 by its name."""
    try:
        lines = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    mounts: dict[str, Path] = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(" ")[-1].split(",")):
            mounts["" if kind == "cgroup2" else "memory"] = root / before.split(" ")[4].lstrip("/")
    return mounts


def _bytes_left(folder: Path) -> int | None:
    for limit, usage, unused in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = (folder / limit).read_text(encoding="ascii").strip()
            if not most.isdigit() or int(most) >= NO_LIMIT:  # "max"
                continue
            statistics = dict(
                line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            )
            used = int((folder / usage).read_text(encoding="ascii")) - int(statistics.get(unused, 0))
            return int(most) - used
        except (OSError, ValueError):
            continue
    return None
