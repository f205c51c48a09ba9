"""Failing file operations, in this process: the nth write, flush, rename, creation or read below some folders raises an `OSError`.

The functions of Python are replaced, so that also libraries meet the fault that read and write by Python: NumPy, zipfile, tarfile.
Libraries in C and Rust (safetensors, Arrow) write by themselves; small real disks (`small_disks.py`) cover them.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

Operation = Literal["write", "create", "flush", "rename", "read"]
OPERATIONS: tuple[Operation, ...] = ("write", "create", "flush", "rename", "read")
NEEDS_SPACE = {"write", "create"}
"""Operations that all fail on a full disk."""
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR


class FileFault(NamedTuple):
    """The fault at operation `number` (from 1; 0: none). A `lasting` one is also met by all later operations that need space."""

    operation: Operation = "write"
    number: int = 0
    error: int = 0
    lasting: bool = False

    def __str__(self) -> str:
        """Return the fault for a person."""
        name = os.strerror(self.error) if self.error else "no fault"
        return f"{name} at {self.operation} {self.number}{' and later' if self.lasting else ''}"


def install(fault: FileFault, folders: Sequence[Path]) -> dict[str, int]:
    """Replace the file functions of this process for good; return the counts of operations, which grow."""
    counter = _Counter(fault, tuple(f"{folder}{os.sep}" for folder in folders))
    everything: Any = os
    builtins.open = io.open = _opening(counter)
    everything.open, everything.mkdir, everything.fsync = _os_open(counter), _mkdir(counter), _fsync(counter)
    everything.rename, everything.replace = _renaming(counter, os.rename), _renaming(counter, os.replace)
    return counter.counts


class _Counter:
    """Counts operations below some folders and raises the fault."""

    def __init__(self, fault: FileFault, inside: tuple[str, ...]) -> None:
        self.fault, self.inside = fault, inside
        self.counts = dict.fromkeys(OPERATIONS, 0)

    def is_inside(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and str(Path(path).absolute()).startswith(self.inside)

    def meet(self, operation: Operation, path: object) -> None:
        """Count an operation on a path, and raise the fault if this is its moment."""
        if not self.is_inside(path):
            return
        self.counts[operation] += 1
        fault, reached = self.fault, self.counts[self.fault.operation] >= self.fault.number > 0
        is_this = operation == fault.operation and self.counts[operation] == fault.number
        if is_this or (fault.lasting and reached and operation in NEEDS_SPACE):
            raise OSError(fault.error, os.strerror(fault.error), str(path))


def _opening(counter: _Counter) -> Any:
    real = io.open

    class Raw(io.FileIO):
        """An unbuffered file whose reads and writes may fail."""

        def write(self, content: Any, /) -> int:
            counter.meet("write", self.name)
            return super().write(content)

        def readinto(self, buffer: Any, /) -> Any:
            counter.meet("read", self.name)
            return super().readinto(buffer)

        def readall(self) -> bytes:
            counter.meet("read", self.name)
            return super().readall()

    def opened(file: Any, mode: str = "r", buffering: int = -1, *text: Any, **settings: Any) -> Any:
        names = ("encoding", "errors", "newline")
        settings = {**dict(zip(names, text, strict=False)), **settings}
        if not counter.is_inside(file) or set(settings) - set(names):
            return real(file, mode, buffering, **settings)
        if set(mode) & set("wax"):
            counter.meet("create", file)
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
        buffered: Any = kind(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **settings)

    return opened


def _os_open(counter: _Counter) -> Callable[..., int]:
    real = os.open

    def os_open(path: Any, flags: int, *more: Any, **settings: Any) -> int:
        if flags & _WRITING_FLAGS and flags & os.O_CREAT:
            counter.meet("create", path)
        return real(path, flags, *more, **settings)

    return os_open


def _mkdir(counter: _Counter) -> Callable[..., None]:
    real = os.mkdir

    def mkdir(path: Any, *more: Any, **settings: Any) -> None:
        if not Path(path).exists():
            counter.meet("create", path)
        real(path, *more, **settings)

    return mkdir


def _fsync(counter: _Counter) -> Callable[[int], None]:
    real = os.fsync

    def fsync(file: int) -> None:
        counter.meet("flush", Path(f"/proc/self/fd/{file}").readlink())
        real(file)

    return fsync


def _renaming(counter: _Counter, real: Callable[..., None]) -> Callable[..., None]:
    def rename(source: Any, target: Any, **settings: Any) -> None:
        counter.meet("rename", target)
        real(source, target, **settings)

    return rename
