"""A surface: one kind of input, its cases, and the search for the smallest case with the same fault."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from campaign.outcomes import Outcome, outcome


class Case(NamedTuple):
    """A case of a surface: `choice` selects what is edited and which face reads it, `edits` are the seeds of the edits."""

    choice: int
    edits: tuple[int, ...]


class Surface(NamedTuple):
    """`prepare` makes the valid originals once, in a folder; `attempt` edits one and gives it to byheart, in an empty folder.

    `attempt` returns the outcome of a command line, or None if the call ended without an error.
    """

    name: str
    prepare: Callable[[Path], Any]
    attempt: Callable[[Any, Case, Path], Outcome | None]


def case_number(surface: str, number: int) -> Case:
    """Return a case by the surface's name and its number."""
    chance = random.Random(zlib.crc32(surface.encode()) * 1_000_003 + number)
    count = chance.choice((1, 1, 1, 2, 2, 3, 5))
    return Case(chance.getrandbits(31), tuple(chance.getrandbits(31) for _ in range(count)))


def tried(surface: Surface, prepared: Any, case: Case) -> Outcome:
    """Return the outcome of one case."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        (folder / "in").mkdir()
        with contextlib.chdir(folder):
            return outcome(lambda: surface.attempt(prepared, case, folder / "in"), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def smallest(surface: Surface, prepared: Any, case: Case, fault: Outcome) -> Case:
    """Return the case with as few edits as show the same fault."""
    for size in range(len(case.edits)):
        for edits in itertools.combinations(case.edits, size):
            found = tried(surface, prepared, Case(case.choice, edits))
            if (found.kind, found.place) == (fault.kind, fault.place):
                return Case(case.choice, edits)
    return case


class Campaign(NamedTuple):
    """Counts of outcomes by kind, and each distinct fault with its number, its smallest case and its count."""

    cases: int
    counts: dict[str, int]
    faults: dict[str, dict[str, Any]]
    seconds: float


def campaign(surface: Surface, first: int, count: int, *, seconds: float) -> Campaign:
    """Try cases of a surface from the number `first` on, until `count` or the time is reached."""
    counts: dict[str, int] = {}
    faults: dict[str, dict[str, Any]] = {}
    number = first
    with tempfile.TemporaryDirectory(prefix="campaign-originals-") as folder:
        prepared = surface.prepare(Path(folder))
        started = time.monotonic()
        while number < first + count and time.monotonic() - started < seconds:
            case = case_number(surface.name, number)
            found = tried(surface, prepared, case)
            counts[found.kind] = counts.get(found.kind, 0) + 1
            if found.is_fault:
                name = f"{found.kind}: {found.place}"
                if name not in faults:
                    least = smallest(surface, prepared, case, found)
                    faults[name] = {
                        "number": number,
                        "case": [least.choice, *least.edits],
                        "times": 0,
                        "words": found.words,
                    }
                faults[name]["times"] += 1
            number += 1
        return Campaign(number - first, counts, faults, time.monotonic() - started)
