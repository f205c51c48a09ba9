"""Keep freed memory in this process, so that a training step does not page in its large tensors again.

glibc returns freed blocks above some MiB to the system immediately. The next allocation is new memory, which the system
clears page by page. Full fine-tuning on a CPU spends a third of its time on that.
"""

from __future__ import annotations

import ctypes
import functools

from byheart.lm.memory_limit import available_ram, resident_bytes

# Constants of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
REUSED_BLOCK_BYTES = 1 << 30
"""Size (bytes) up to which freed blocks are reused."""
RETURNED_BLOCK_BYTES = 4 << 20
"""Size (bytes) from which freed blocks are returned at once if memory is scarce although all free memory was returned."""
GROWTH = 1.25
"""Growth of this process's memory since the last release from which it is released again; memory in use cannot be released."""
LEAST_RESIDENT_BYTES = 1 << 30
"""Memory of a process (bytes) below which none is released: reading the limits takes a third of a millisecond."""


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


def _return_freed_memory() -> None:
    """Make this process return freed blocks from 4 MiB to the system at once, for the rest of its time: slower, but smaller."""
    if library := _glibc():
        library.mallopt(MMAP_THRESHOLD, RETURNED_BLOCK_BYTES)


class _AfterRelease:
    """Bytes of RAM that this process took after it last released memory."""

    resident = 0


def release_scarce_memory() -> None:
    """Return free memory to the system if less RAM is available than this process takes, and it grew by a quarter since the last time.

    If less than half as much is available even then, freed memory is not kept from now on. Training and observations allocate
    blocks of different sizes, so the memory that is kept for them grows. Called after every step and batch.
    """
    resident = resident_bytes()
    _AfterRelease.resident = min(_AfterRelease.resident, resident)
    if resident < max(LEAST_RESIDENT_BYTES, GROWTH * _AfterRelease.resident):
        return
    available = available_ram()
    if available is None or available >= resident:
        return
    release_free_memory()
    _AfterRelease.resident = resident_bytes()
    if (available_ram() or 0) < _AfterRelease.resident / 2:
        _return_freed_memory()


def release_free_memory() -> None:
    """Return free memory to the system, after a phase with equal memory use."""
    if library := _glibc():
        library.malloc_trim(0)
