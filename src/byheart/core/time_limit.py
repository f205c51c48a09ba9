"""Interrupt Python code that takes too long or too much memory, such as a chat template from a downloaded model folder.

One thread per process watches all limits. It works in every thread, and interrupts between two Python instructions: a single
call of a library's compiled code is not interrupted before it returns.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05
_MEMORY = Path("/proc/self/statm")


class LimitError(Exception):
    """The block of `limited` took too long or too much memory."""


@dataclass(eq=False)
class _Limit:
    deadline: float
    resident_bytes: float
    is_exceeded: bool = False


_lock = threading.Lock()
_limits: dict[int, _Limit] = {}
_is_needed = threading.Event()
_watcher: threading.Thread | None = None


@contextlib.contextmanager
def limited(*, seconds: float, memory_bytes: float) -> Generator[None]:
    """Raise `LimitError` in a block that runs for longer, or while which the process grows by more bytes (on Linux).

    Blocks of one thread are not nested.
    """
    thread = threading.get_ident()
    limit = _Limit(time.monotonic() + seconds, _resident_bytes() + memory_bytes)
    with _lock:
        _limits[thread] = limit
        _start_watcher()
    _is_needed.set()
    try:
        yield
    finally:
        with _lock:
            _limits.pop(thread, None)
        if limit.is_exceeded:
            _receive_exception(thread)


def _start_watcher() -> None:
    global _watcher  # noqa: PLW0603 - one watcher per process
    if _watcher is None or not _watcher.is_alive():
        _watcher = threading.Thread(target=_watch, name="byheart-limits", daemon=True)
        _watcher.start()


def _watch() -> None:
    while True:
        _is_needed.wait()
        time.sleep(POLL_SECONDS)
        memory, now = _resident_bytes(), time.monotonic()
        with _lock:
            if not _limits:
                _is_needed.clear()
            for thread, limit in _limits.items():
                if not limit.is_exceeded and (now > limit.deadline or memory > limit.resident_bytes):
                    limit.is_exceeded = True
                    _raise_in(thread, LimitError)


def _receive_exception(thread: int) -> None:
    """Receive an exception in this thread that may not have arrived yet, so that it does not interrupt the next code.

    It is raised again, which replaces a waiting one. Withdrawing it (with NULL) leaves a flag of CPython set: every later call in
    this process is slower, and in Python 3.11 a traced call never begins.
    """
    try:
        _raise_in(thread, LimitError)
        while True:  # the exception arrives at a backward jump
            pass
    except LimitError:
        pass


def _raise_in(thread: int, error: type[Exception]) -> None:
    """Raise an exception in a thread before its next Python instruction."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _resident_bytes() -> float:
    """Return the memory of this process in bytes; 0 where the system does not report it in a file."""
    try:
        return int(_MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0.0


def _forget_threads() -> None:
    """Start anew in a forked child, which has no other threads."""
    global _lock, _watcher
    _lock, _watcher = threading.Lock(), None
    _limits.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
