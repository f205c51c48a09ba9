"""Too little memory: an error at the nth call of byheart's functions in training, scoring, the split check or a page, and a real limit."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import byheart
from campaign.checks import CaseRandom, Check
from campaign.faults.trial import Trial, Trials, problem

ROOT = Path(byheart.__file__).parent
PARTS = {
    "training": ("lm/train", "lm/loss", "lm/batching", "study/train_and_observe", "study/checkpoints", "methods/"),
    "scoring": (
        "lm/score",
        "lm/forward",
        "observations/",
        "attacks/",
        "metrics/",
        "study/cell_rows",
        "study/stored_evidence",
    ),
    "gate": ("data/", "core/split", "study/split_checks", "study/text_checks"),
    "page": ("report/", "tables/", "figures/", "analysis/", "stats/"),
    "store": ("store/", "core/atomic_file"),
}
"""Beginnings of the files whose functions belong to a part of a run."""
MOST = {"study": 4, "audit": 1, "page": 1}
"""Most cases of each part in each run, at other calls."""
TORCH = (
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 "
    "bytes. Error code 12 (Cannot allocate memory)"
)
ERRORS: dict[str, Callable[[], Exception]] = {"MemoryError": MemoryError, "torch": lambda: RuntimeError(TORCH)}
LIMITS = 2
"""Real limits that are tried for each run."""
LEAST_BYTES, MOST_BYTES = 2**20, 2**28


def checks(originals: Path) -> list[Check]:
    """Return a check for each run and part, and for real limits; models and texts are written into the folder."""
    trials = Trials(originals, lambda _: fail_call())
    found: list[Check] = []
    for run, most in MOST.items():
        for part in ("page", "store") if run == "page" else PARTS:
            tried = list[int]()
            found.append(Check(f"{run}: {part}", failing(trials, run, part, tried), cases=most, tried=tried))
        found.append(Check(f"{run}: ulimit", lambda _, c, r=run: limited(trials[r], c), cases=LIMITS))
    return found


def fail_call(part: str = "", number: int = 0, error: Callable[[], Exception] = MemoryError) -> Mapping[str, int]:
    """Raise an error at a call of a part's functions, in this process and this thread; return the counts of calls, which grow."""
    counts = dict.fromkeys(PARTS, 0)
    parts: dict[str, str] = {}

    def part_of(file: str) -> str:
        name = file.removeprefix(f"{ROOT}/") if file.startswith(f"{ROOT}/") else ""
        return next((p for p, beginnings in PARTS.items() if name.startswith(beginnings)), "")

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename not in parts:
            parts[code.co_filename] = part_of(code.co_filename)
        found = parts[code.co_filename]
        if not found or code.co_name == "<module>":
            return
        counts[found] += 1
        if found == part and counts[found] == number:
            raise error()  # the error leaves the called function, and Python calls this function no more

    sys.setprofile(profile)
    return counts


def failing(trials: Trials, run: str, part: str, tried: list[int]) -> Callable[[Path, CaseRandom], str]:
    """Return an attempt: an error at the case's call of a part."""

    def attempt(_: Path, chance: CaseRandom) -> str:
        trial = trials[run]
        number = chance.among(trial.counts[part], MOST[run])
        tried.append(int(number is not None))
        if number is None:
            return ""
        kind = chance.choice([*ERRORS])
        wrong = problem(trial, lambda _: fail_call(part, number, ERRORS[kind]))
        return f"{kind} at call {number} of {trial.counts[part]}: {wrong}" if wrong else ""

    return attempt


def limited(trial: Trial, chance: CaseRandom) -> str:
    """Run with little more memory than the process has at its start, as `ulimit -v` does."""
    more = int(LEAST_BYTES * (MOST_BYTES / LEAST_BYTES) ** chance.random())

    def limit(_: Path) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))

    wrong = problem(trial, limit)
    return f"{more / 2**20:.1f} MiB more: {wrong}" if wrong else ""
