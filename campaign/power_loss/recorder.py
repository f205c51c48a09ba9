"""Record a run's file operations in a forked child: every state of a folder, and what was flushed (`fsync`) before it."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from campaign.kills.moments import WRITES

IGNORED = ("claims", "probes")
"""Folders of the store that hold no results."""


ROOT = 0
"""Number of the recorded folder."""


class Entry(NamedTuple):
    """A file or folder by its number, with the size of a file. Numbers are those of inodes, but none is used twice."""

    number: int
    is_folder: bool
    size: int


class State(NamedTuple):
    """A folder before a file operation: its entries by path, flushed content by number, and flushed names by a folder's number.

    Content and names of files and folders that were removed since are included: their removal may not be on the disk.
    """

    operation: str
    entries: dict[str, Entry]
    data: dict[int, bytes]
    names: dict[int, dict[str, int]]


def record(run: Callable[[], object], root: Path) -> list[State]:
    """Return the states of `root` before each file operation of `run` below it, and after the last one.

    Raises `RuntimeError` if the run fails.
    """
    report = root.with_name(f"{root.name}.states")
    process = os.fork()
    if process == 0:
        code = 1
        try:
            states: Any = _Recorder(root).recorded(run)
            code = 0
        except BaseException:  # noqa: BLE001 - the parent reports it
            states = traceback.format_exc()
        report.write_bytes(pickle.dumps(states))
        os._exit(code)
    _, status = os.waitpid(process, 0)
    states = pickle.loads(report.read_bytes())  # noqa: S301 - written by the child
    report.unlink()
    if status:
        raise RuntimeError(states)
    return states


class _Recorder:
    def __init__(self, root: Path) -> None:
        self.root, self.states = str(root), list[State]()
        self.data: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.numbers = {root.stat().st_ino: ROOT}
        self.following = itertools.count(1)
        self.is_inside = False
        self.thread = threading.get_ident()
        self.real_fsync = os.fsync

    def recorded(self, run: Callable[[], object]) -> list[State]:
        os.fsync = self._fsync
        sys.addaudithook(self._hook)
        try:
            run()
        except SystemExit as ended:
            if ended.code not in {0, None}:
                raise
        self._take("end")
        return self.states

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_inside or threading.get_ident() != self.thread:
            return
        if event == "open":
            _, mode, flags = (*arguments, None, None)[:3]
            is_write = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & 3)
            if not is_write:
                return
        elif event not in WRITES:
            return
        if str(arguments[0]).startswith(self.root):
            self._take(f"{event} {str(arguments[0])[len(self.root) :]}")

    def _fsync(self, file: int) -> None:
        """Flush, and remember what is on the disk now."""
        self.real_fsync(file)
        path = Path(f"/proc/self/fd/{file}").readlink()
        if not str(path).startswith(self.root):
            return
        self._take(f"fsync {str(path)[len(self.root) :]}")
        self.is_inside = True
        number = self.numbers.get(os.fstat(file).st_ino)  # None in an ignored folder
        if number is not None and path.is_dir():
            entries = {entry.name: self.numbers.get(entry.inode()) for entry in os.scandir(path)}
            self.names[number] = {name: child for name, child in entries.items() if child is not None}
        elif number is not None:
            self.data[number] = path.read_bytes()
        self.is_inside = False

    def _take(self, operation: str) -> None:
        self.is_inside = True
        entries, numbers = dict[str, Entry](), {Path(self.root).stat().st_ino: ROOT}
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            for entry in os.scandir(f"{self.root}/{folder}"):
                name = f"{folder}/{entry.name}".lstrip("/")
                if entry.name in IGNORED:
                    continue
                status = entry.stat(follow_symlinks=False)
                # An inode that was removed meanwhile may return as another file.
                numbers[status.st_ino] = self.numbers.get(status.st_ino) or next(self.following)
                entries[name] = Entry(numbers[status.st_ino], entry.is_dir(), status.st_size)
                if entry.is_dir():
                    waiting.append(name)
        self.numbers = numbers
        self.states.append(State(operation, entries, dict(self.data), dict(self.names)))
        self.is_inside = False
