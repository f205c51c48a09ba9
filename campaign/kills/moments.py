"""Moments of a kill: after a share of the run's time, or before the nth file operation in a folder; and the forked child."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime"}
"""File operations that Python's audit hook reports, besides files that are opened for writing."""
LONGEST_SECONDS = 300.0


class Moment(NamedTuple):
    """A signal after `seconds`, or before file operation number `operation` (from 1); neither: the run is not broken."""

    number: signal.Signals = signal.SIGKILL
    seconds: float | None = None
    operation: int | None = None

    def __str__(self) -> str:
        """Return the moment for a person."""
        if self.operation is None and self.seconds is None:
            return "unbroken"
        where = f"{self.seconds:.2f} s" if self.operation is None else f"file operation {self.operation}"
        return f"{self.number.name} at {where}"


class Ended(NamedTuple):
    """How a child ended: exit code (negative: its signal), seconds, number of file operations, traceback, process group."""

    code: int
    seconds: float
    operations: int
    printed: str
    group: int


def child(run: Callable[[], object], folder: Path, moment: Moment) -> Ended:
    """Call `run` in a forked process and send it the signal of the moment; file operations below `folder` are counted."""
    report = folder.with_name(f"{folder.name}.child")
    report.unlink(missing_ok=True)
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        _in_child(run, folder, moment, report)
    wait_for = LONGEST_SECONDS if moment.seconds is None else moment.seconds
    is_over, status = _waited(process, wait_for)
    if not is_over:
        os.kill(process, moment.number if moment.seconds is not None else signal.SIGKILL)
        is_over, status = _waited(process, 30.0)
        if not is_over:
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            status = -1000  # the signal did not end it
    seconds = time.monotonic() - started
    code = status if status == -1000 else os.waitstatus_to_exitcode(status)
    reported = report.read_text().split("\n", 1) if report.exists() else ["0", ""]
    return Ended(code, seconds, int(reported[0] or 0), reported[-1], process)


def end_workers(ended: Ended) -> None:
    """End processes that a killed child started, which may go on without it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(ended.group, signal.SIGKILL)


def _waited(process: int, seconds: float) -> tuple[bool, int]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return True, status
        time.sleep(0.005)
    return False, 0


def _in_child(run: Callable[[], object], folder: Path, moment: Moment, report: Path) -> None:
    """Run and leave the process; never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = report.open("w")  # now, because the run may leave no file handles, or no rights
    count, code, text, inside = 0, 0, "", f"{folder}{os.sep}"

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event == "open":
            path, mode, flags = (*arguments, None, None)[:3]
            is_write = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & 3)
            if not is_write or not isinstance(path, str | os.PathLike):
                return
        elif event in WRITES:
            path = arguments[0]
        else:
            return
        if not str(path).startswith(inside):
            return
        count += 1
        if count == moment.operation:
            os.kill(os.getpid(), moment.number)

    sys.addaudithook(hook)
    try:
        os.setsid()  # workers get no signal of the terminal
        run()
    except SystemExit as ended:
        code, text = ended.code if isinstance(ended.code, int) else 1, "".join(getattr(ended, "__notes__", []))
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - the parent reports it
        code, text = 99, traceback.format_exc()
    try:
        output.write(f"{count}\n{text}")
        output.close()
        sys.stdout.flush()
    finally:
        os._exit(code)  # a process that went on here would be a second parent


def as_json(content: object) -> str:
    """Return a value as sorted JSON, to compare it."""
    return json.dumps(content, sort_keys=True, default=str)
