"""Keep freed memory in this process, so that a training step does not page in its large tensors again.

glibc returns freed blocks above some MiB to the system immediately. The next allocation is new memory, which the system
clears page by page. Full fine-tuning on a CPU spends a third of its time on that.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

# Constants of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
REUSED_BLOCK_BYTES = 1 << 30
"""Size (bytes) up to which freed blocks are reused."""


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it has `mallopt` and `malloc_trim`, else None."""
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except (OSError, TypeError):  # not Linux
        return None


@functools.cache
def keep_freed_memory() -> bool:
    """Make this process keep freed memory. Return whether its C library supports that."""
    library = _glibc()
    return bool(
        library and library.mallopt(MMAP_THRESHOLD, REUSED_BLOCK_BYTES) and library.mallopt(TRIM_THRESHOLD, 2**31 - 1)
    )


def available_ram() -> int | None:
    """Return the bytes of RAM that are available, or None if the system does not report it."""
    try:
        import psutil
    except ImportError:
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return None
    return psutil.virtual_memory().available


def release_scarce_memory() -> None:
    """Return free memory to the system if less RAM is available than this process takes.

    Training and observations allocate blocks of different sizes, so the memory that is kept for both grows from phase to phase.
    """
    available = available_ram()
    if available is not None and available < _resident_bytes():
        release_free_memory()


def _resident_bytes() -> int:
    """Return the bytes of RAM that this process takes; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def release_free_memory() -> None:
    """Return free memory to the system, after a phase with equal memory use."""
    if library := _glibc():
        library.malloc_trim(0)
