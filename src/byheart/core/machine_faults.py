"""Errors that the machine causes, in one line: a full or failing disk, permissions, too many open files, too little memory."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

STORED = "run again; finished results are stored."
OUT_OF_MEMORY = f"out of memory. Close other programs, or lower batch_size, machine.token_budget or the number of workers, and {STORED}"
_LINES = {
    errno.ENOSPC: f"the disk is full. Free some space and {STORED}",
    errno.EDQUOT: f"the disk quota is used up. Free some space and {STORED}",
    errno.EMFILE: f"too many open files. Raise the limit, as in ulimit -n 4096, and {STORED}",
    errno.ENFILE: f"the machine has too many open files. Close other programs and {STORED}",
    errno.ENOMEM: OUT_OF_MEMORY,
}
MACHINE_ERRNOS = {*_LINES, errno.EIO}
"""Error numbers that another path does not avoid."""
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
"""Libraries in Rust (safetensors, tokenizers) report the system's error number only in the message."""
_NO_MEMORY = re.compile(
    r"can(?:'t|not) allocate memory|not enough memory|can't start new thread|CUDA out of memory|failed to map segment",
    re.IGNORECASE,
)
"""Messages of torch, of Python for a thread without memory for its stack, and of the system for a library that does not fit."""
_MEMORY_ERRORS = (RuntimeError, ImportError, OSError)


def machine_fault_line(error: BaseException) -> str | None:
    """Return what is wrong with the machine and the fix, if it caused the error or an error behind it; None for another error."""
    return next((line for e in _chain(error) if (line := _line(e))), None)


def _line(error: BaseException) -> str | None:
    match = _SYSTEM_ERROR.search(str(error))
    number = error.errno if isinstance(error, OSError) and error.errno else int(match[1]) if match else None
    if isinstance(error, MemoryError) or (isinstance(error, _MEMORY_ERRORS) and _NO_MEMORY.search(str(error))):
        return OUT_OF_MEMORY
    if number is None:
        return None
    place = error.filename if isinstance(error, OSError) and isinstance(error.filename, str) else ""
    if number == errno.EIO:
        return f"{place or 'a disk'}: cannot be read or written ({os.strerror(number)}). Check the disk and {STORED}"
    if number in _DENIED and place:
        return f"{place}: cannot be read or written ({os.strerror(number)}). Change its permissions and {STORED}"
    return _LINES.get(number)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors behind it: a library may raise its own error after one of the machine."""
    seen, following = set[int](), error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
