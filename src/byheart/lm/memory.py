"""How this process deals with freed memory: it keeps it, so that a step's large tensors are not paged in at every step.

The C library of Linux gives blocks above some MiB back to the system as soon as they are freed; what is asked for next
is new memory, which the system clears page by page. Training all weights on a CPU spends a third of its time on that.
"""

from __future__ import annotations

import ctypes
import functools

# Of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30
"""Bytes: blocks up to this size are reused, and so much that is free at the heap's end is kept."""


@functools.cache
def keep_freed() -> bool:
    """Make this process keep what it frees; return whether its C library can."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return False
    return bool(mallopt(MMAP_THRESHOLD, KEPT) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
