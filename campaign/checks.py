"""Checks of a piece: named attempts with seeds, each of which returns what is wrong, or "" if nothing is."""

from __future__ import annotations

import contextlib
import importlib
import io
import random
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class CaseRandom(random.Random):
    """The random numbers of a case, which follow from its names and its `number`."""

    number: int = 0

    def among(self, total: int, most: int) -> int | None:
        """Return the case's own number from 1 to `total`: each case has another one; None for a case beyond `most` or `total`."""
        if self.number >= min(most, total):
            return None
        return random.Random(total).sample(range(1, total + 1), min(most, total))[self.number]


class Check(NamedTuple):
    """An attempt by its name. `attempt` gets an empty folder and the random numbers of its case; it has `cases` cases.

    An attempt that tries another number of cases than one appends it to `tried`.
    """

    name: str
    attempt: Callable[[Path, CaseRandom], str]
    cases: int = 1
    tried: list[int] | None = None


class Checked(NamedTuple):
    """Number of cases of a topic, what is wrong by check and number, and seconds."""

    cases: int
    faults: dict[str, str]
    seconds: float


def topics(piece: str) -> list[str]:
    """Return the topics of a piece: the modules of its folder that have a function `checks`."""
    folder = Path(__file__).parent / piece
    names = sorted(p.stem for p in folder.glob("[a-z]*.py"))
    return [name for name in names if hasattr(importlib.import_module(f"campaign.{piece}.{name}"), "checks")]


def case_seed(piece: str, topic: str, check: str, number: int) -> CaseRandom:
    """Return the random numbers of a case."""
    chance = CaseRandom(zlib.crc32(f"{piece}/{topic}/{check}".encode()) * 1_000_003 + number)
    chance.number = number
    return chance


def run_topic(
    piece: str, topic: str, *, first: int = 0, count: int | None = None, only: Sequence[str] = (), seconds: float = 1e9
) -> Checked:
    """Try the cases of a topic from the number `first` on, at most `count` of each check; `only` names some checks."""
    module: Any = importlib.import_module(f"campaign.{piece}.{topic}")
    cases, faults, started = 0, dict[str, str](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-originals-") as originals:
        with contextlib.redirect_stderr(io.StringIO()):
            checks: list[Check] = module.checks(Path(originals))
        started = time.monotonic()
        for check in checks:
            if only and check.name not in only:
                continue
            last = check.cases if count is None else min(check.cases, first + count)
            for number in range(first, last):
                if time.monotonic() - started > seconds:
                    break
                if problem := _tried(check, case_seed(piece, topic, check.name, number)):
                    faults[f"{check.name} {number}"] = problem[:1500]
                cases += check.tried.pop() if check.tried else 1
    return Checked(cases, faults, time.monotonic() - started)


def _tried(check: Check, chance: CaseRandom) -> str:
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as name:
        try:
            with contextlib.chdir(name):
                return check.attempt(Path(name), chance)
        except Exception:  # noqa: BLE001 - a check that breaks is a fault
            return f"the check breaks: {traceback.format_exc()[-1200:]}"
