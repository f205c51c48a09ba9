"""How this process deals with freed memory: it keeps it, so that a step's large tensors are not paged in at every step.

The C library of Linux gives blocks above some MiB back to the system as soon as they are freed; what is asked for next
is new memory, which the system clears page by page. Training all weights on a CPU spends a third of its time on that.
"""

from __future__ import annotations

import ctypes
import functools

# Of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
REUSED_BLOCK_BYTES = 1 << 30
"""Bytes: blocks up to this size are reused, and so much that is free at the heap's end is kept."""


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library, if it is one that can be told."""
    try:
        found = ctypes.CDLL(None)
        return found if hasattr(found, "mallopt") and hasattr(found, "malloc_trim") else None
    except (OSError, TypeError):  # another system
        return None


@functools.cache
def keep_freed_memory() -> bool:
    """Make this process keep what it frees; return whether its C library can."""
    library = _glibc()
    return bool(
        library and library.mallopt(MMAP_THRESHOLD, REUSED_BLOCK_BYTES) and library.mallopt(TRIM_THRESHOLD, 2**31 - 1)
    )


def release_free_memory() -> None:
    """Give what is free back to the system now, where a stretch of equal work ends."""
    if library := _glibc():
        library.malloc_trim(0)
