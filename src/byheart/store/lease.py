"""Leases: at most one process at a time holds a key, on any file system that has an atomic `mkdir`.

The claims of a key are the folders `FOLDER/1`, `FOLDER/2`, ... A claim is made by `mkdir`, which one process wins. The
highest number is the current claim; it is over when it is released, when its process has ended, or when its heartbeat has
stopped. A claim that is over is replaced by the next number and the highest number is never removed, so that a slow process
cannot take away a claim that it did not see.

The file system's clock judges heartbeats: a reader compares a heartbeat with a file that it writes beside it. So clocks of
hosts may differ. That clock may be set back, so a heartbeat that a waiting reader sees unchanged for as long, by a clock that is
never set, has stopped too. File locks (`flock`) are not used: network file systems may ignore them.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import threading
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from byheart.core.machine_identity import is_running, machine_identity, process_start
from byheart.store.durable import READ_ONLY_ERRNOS

HEARTBEAT_SECONDS = 10.0
"""A holder writes its heartbeat this often."""
EXPIRY_SECONDS = 60.0
"""A claim without a heartbeat for this long is over: six missed heartbeats."""
LOG_VARIABLE = "BYHEART_LOG"
"""Environment variable with the log file of a worker, which its claims and failures name."""
LONGEST_POLL_SECONDS = 2.0
"""A process that waits for a claim looks at it at least this often."""


class Holder(NamedTuple):
    """Who holds a claim: host, process id, seconds since the claim by the file system's clock, and a log file or ""."""

    host: str
    process: int
    seconds: float
    log: str


@contextlib.contextmanager
def lease(folder: Path, *, wait: bool) -> Generator[bool]:
    """Hold the lease of a folder and yield True. If another process holds it, wait, or yield False unless `wait`.

    A process that is suspended for longer than `EXPIRY_SECONDS` loses its lease; nothing stops its work.
    """
    claim, pause = _acquired(folder), 0.05
    while claim is None and wait:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_POLL_SECONDS)
        claim = _acquired(folder)
    if claim is None:
        yield False
        return
    released = threading.Event()
    beats = threading.Thread(target=_beat, args=(claim, released), name="byheart-lease", daemon=True)
    try:
        beats.start()
        try:
            yield True
        finally:
            released.set()
            beats.join()
    finally:
        _release(claim)


def holder(folder: Path) -> Holder | None:
    """Return who holds the lease of a folder; None if it is free."""
    claim = _current(folder)
    if claim is None or _is_over(claim):
        return None
    owner = _owner(claim)
    since = _modified(claim / "owner.json") or _modified(claim) or 0.0
    seconds = max(0.0, _file_system_time(folder) - since)
    return Holder(str(owner.get("host", "?")), int(owner.get("process", 0)), seconds, str(owner.get("log", "")))


def _acquired(folder: Path) -> Path | None:
    """Return a new claim of this process; None if another process holds the lease or is first."""
    folder.mkdir(parents=True, exist_ok=True)
    current = _current(folder)
    if current is not None and not _is_over(current):
        return None
    claim = folder / str(1 + (int(current.name) if current else 0))
    try:
        claim.mkdir()
    except FileExistsError:
        return None
    try:
        return _confirmed(folder, claim)
    except FileNotFoundError:  # this process was suspended here, and its claim was replaced
        return None
    except BaseException:  # without a heartbeat, but the process may go on, such as a notebook after Ctrl-C
        _release(claim)
        raise


def _confirmed(folder: Path, claim: Path) -> Path | None:
    """Write the owner of a new claim and remove the claims before it; None if a later claim exists."""
    (claim / "heartbeat.lock").touch()
    owner = {
        "host": platform.node(),
        "machine": machine_identity(),
        "process": os.getpid(),
        "process_start": process_start(os.getpid()),
        "log": os.environ.get(LOG_VARIABLE, ""),
    }
    (claim / "owner.json").write_text(json.dumps(owner))
    if _current(folder) != claim:  # it was made after a look at a list that was too old
        shutil.rmtree(claim, ignore_errors=True)
        return None
    for number in _numbers(folder):
        if number < int(claim.name):
            shutil.rmtree(folder / str(number), ignore_errors=True)
    return claim


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(p.name) for p in folder.iterdir() if p.name.isdecimal()]
    except FileNotFoundError:
        return []


def _current(folder: Path) -> Path | None:
    number = max(_numbers(folder), default=None)
    return None if number is None else folder / str(number)


def _is_over(claim: Path) -> bool:
    """Whether the claim was released, or its process has ended, or its heartbeat has stopped."""
    if (claim / "released.lock").exists():
        return True
    owner = _owner(claim)
    if owner.get("machine") == machine_identity():
        return not is_running(int(owner["process"]), owner["process_start"])
    # Without a heartbeat yet, the folder's own time counts. Without a folder, a higher number exists.
    beat = _modified(claim / "heartbeat.lock") or _modified(claim)
    if beat is None:
        return False
    is_silent = _unchanged_seconds(claim, beat) > EXPIRY_SECONDS
    return is_silent or _file_system_time(claim.parent) - beat > EXPIRY_SECONDS


_last_beats: dict[Path, tuple[float, float]] = {}
"""The heartbeat of each claim that this process last saw, and when it saw it first, by the monotonic clock."""


def _unchanged_seconds(claim: Path, beat: float) -> float:
    """Return for how long this process has seen the same heartbeat of a claim."""
    now = time.monotonic()
    known, since = _last_beats.get(claim, (None, now))
    if known != beat:
        _last_beats[claim] = (beat, since := now)
    return now - since


def _owner(claim: Path) -> dict[str, str | int]:
    """Return the owner; {} while it is being written, and for a file without an owner."""
    try:
        owner = json.loads((claim / "owner.json").read_text())
        return {**owner, "process": int(owner["process"]), "process_start": owner["process_start"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _modified(path: Path) -> float | None:
    """Return the time of a file or folder by the file system's clock; None if it is missing."""
    try:
        file = os.open(path, os.O_RDONLY)  # opened, because a network file system may answer `stat` from a cache
    except OSError:
        return None
    try:
        return os.fstat(file).st_mtime
    finally:
        os.close(file)


def _file_system_time(folder: Path) -> float:
    """Return the file system's time; this host's time to a reader who cannot write, and so cannot claim either."""
    probe = folder / f"probe-{uuid.uuid4().hex}"
    try:
        probe.touch()
    except OSError as error:
        if error.errno not in READ_ONLY_ERRNOS:
            raise
        return time.time()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _beat(claim: Path, released: threading.Event) -> None:
    """Write the heartbeat until the claim is released or replaced; a network file system that fails once is tried again."""
    while not released.wait(HEARTBEAT_SECONDS):
        try:
            os.utime(claim / "heartbeat.lock")  # without times: the file system sets its own
        except FileNotFoundError:
            return
        except OSError:
            continue


def _release(claim: Path) -> None:
    with contextlib.suppress(OSError):  # a claim that was replaced has no folder; others expire
        (claim / "heartbeat.lock").rename(claim / "released.lock")  # a full disk has no room for a new file
    with contextlib.suppress(OSError):
        (claim / "owner.json").unlink()
