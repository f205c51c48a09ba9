"""Kill each run at drawn moments, run it again, and compare with the unbroken run."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import shutil
import signal
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from campaign.kills.moments import Moment, as_json, child, end_workers
from campaign.kills.runs import Run, drafts, runs

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SHARE_BY_OPERATION = 0.6
NEEDS_STORE = {"page", "pack"}
ENDED_BY = {signal.SIGTERM: (143, -signal.SIGTERM), signal.SIGINT: (130,)}
"""Exit codes of a command that a signal ends; SIGTERM can come before the command line handles it."""
EXISTS = 2
"""Exit code of a command whose output exists."""


class Killed(NamedTuple):
    """Counts of kills by run, what broke (difference by run, number and moment), and the number of the next kill."""

    counts: dict[str, int]
    faults: dict[str, str]
    seconds: float
    following: int


def kill_runs(
    first: int, count: int, *, seconds: float, only: str = "", on_kill: Callable[[Killed], None] = lambda _: None
) -> Killed:
    """Kill every run `count` times, numbered from `first`, or until the time is over; `only` names some, comma-separated.

    `on_kill` receives the results so far after each kill.
    """
    counts: dict[str, int] = {}
    faults: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="campaign-kills-") as name:
        folder = Path(name)
        with contextlib.redirect_stderr(io.StringIO()):
            every = {run.name: run for run in runs(folder)}
        chosen = [run for run in every.values() if not only or run.name in only.split(",")]
        if NEEDS_STORE & {run.name for run in chosen}:
            _unbroken(every["study"], folder)
        unbroken = {run.name: _unbroken(run, folder) for run in chosen}
        started, number = time.monotonic(), first
        for number, run in itertools.product(range(first, first + count), chosen):
            if number % run.step:
                continue
            if time.monotonic() - started > seconds:
                break
            expected, length, operations = unbroken[run.name]
            moment = drawn(run.name, number, length, operations)
            problem = broken(run, folder, moment, expected)
            counts[run.name] = counts.get(run.name, 0) + 1
            if problem:
                faults[f"{run.name} {number}: {moment}"] = problem[:1500]
            on_kill(Killed(counts, faults, time.monotonic() - started, number))
        else:
            number = first + count
    return Killed(counts, faults, time.monotonic() - started, number)


def drawn(name: str, number: int, length: float, operations: int) -> Moment:
    """Return the moment of a kill by the run's name and the kill's number."""
    chance = random.Random(zlib.crc32(name.encode()) * 1_000_003 + number)
    which = chance.choice(SIGNALS)
    if operations and chance.random() < SHARE_BY_OPERATION:
        return Moment(which, operation=chance.randint(1, operations))
    return Moment(which, seconds=chance.uniform(0.0, length))


def _unbroken(run: Run, folder: Path) -> tuple[Mapping[str, Any], float, int]:
    """Return the results of an unbroken run, its seconds and its number of file operations."""
    place = _place(run, folder)
    ended = child(lambda: run.start(place), place, Moment())
    if ended.code != 0:
        raise RuntimeError(f"the run {run.name} ends with {ended.code}: {ended.printed}")
    if run.name == "study":
        shutil.copytree(place / "store", folder / "finished", dirs_exist_ok=True)
    return run.results(place), ended.seconds, ended.operations


def _place(run: Run, folder: Path) -> Path:
    """Return an empty folder for a run; a page and a pack are made from the finished study."""
    place = folder / run.name.replace(" ", "-")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    if run.name in NEEDS_STORE:
        shutil.copytree(folder / "finished", place / "store")
    return place


def broken(run: Run, folder: Path, moment: Moment, expected: Mapping[str, Any]) -> str:
    """Return what differs after a kill and another run; "" if nothing does."""
    place = _place(run, folder)
    killed = child(lambda: run.start(place), place, moment)
    if killed.code in {99, -1000}:  # a traceback; a signal that ended nothing
        return f"the killed run ends with {killed.code}: {killed.printed[-1000:]}"
    if (number := moment.number) != signal.SIGKILL and killed.code not in {0, *ENDED_BY[number], EXISTS}:
        return f"{number.name} ends the run with {killed.code}: {killed.printed[-1000:]}"
    finished = finished_results(place)
    again = child(lambda: run.start(place), place, Moment())
    end_workers(killed)
    if again.code == EXISTS and "already exists" in again.printed and not drafts(place):
        # The killed command had written its result, or `plant` a whole manifest and no data, which only a person may remove.
        return (
            ""
            if run.name == "plant" or as_json(run.results(place)) == as_json(expected)
            else "a part of the result exists"
        )
    if again.code != 0:
        return f"the next run ends with {again.code}: {again.printed[-1000:]}"
    if twice := [name for name, file in finished_results(place).items() if finished.get(name, file) != file]:
        return f"made twice: {sorted(twice)[:6]}"
    found = run.results(place)
    differing = [name for name in expected if as_json(expected[name]) != as_json(found[name])]
    return "; ".join(_difference(name, expected[name], found[name]) for name in differing)


def finished_results(place: Path) -> dict[str, tuple[int, int]]:
    """Return which file describes each complete result of a store, by the result's name; a result made again has another file."""
    files = {p: p.stat() for p in place.glob("store/*/*/recipe.json")}
    return {p.parent.relative_to(place / "store").as_posix(): (f.st_ino, f.st_mtime_ns) for p, f in files.items()}


def _difference(name: str, expected: Any, found: Any) -> str:
    if isinstance(expected, dict):
        names = [n for n in {**expected, **found} if expected.get(n) != found.get(n)]
        return f"{name} of {sorted(names)[:6]}"
    missing, new = [x for x in expected if x not in found], [x for x in found if x not in expected]
    return f"{name}: {len(missing)} missing {missing[:2]}, {len(new)} new {new[:4]}"
