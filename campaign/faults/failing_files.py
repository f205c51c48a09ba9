"""A disk that is full from the nth write, creation, flush or rename on; operations and reads that fail once with an error of the disk."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from campaign.checks import CaseRandom, Check
from campaign.faults.file_faults import OPERATIONS, FileFault, Operation, install
from campaign.faults.trial import INPUTS, Trials, problem

MOST = {"study": 5, "audit": 1, "pack": 3, "plant": 4, "page": 1}
"""Most cases of each kind of operation and error in each run, with other numbers; all numbers of a shorter run."""
WRITES = 40
"""Most cases of a full disk at a write of the study."""


def checks(originals: Path) -> list[Check]:
    """Return a check for each run, operation and error; models and texts are written into the folder."""
    trials = Trials(originals, lambda place: install(FileFault(), (place, originals / INPUTS)))
    found: list[Check] = []
    for run, operation in ((run, operation) for run in MOST for operation in OPERATIONS):
        for error in _errors(run, operation):
            is_full = error == errno.ENOSPC
            most = WRITES if (run, operation, is_full) == ("study", "write", True) else MOST[run]
            tried = list[int]()
            attempt = failing(trials, run, FileFault(operation, 0, error, lasting=is_full), most, tried)
            found.append(Check(f"{run}: {errno.errorcode[error]} at {operation}", attempt, cases=most, tried=tried))
    return found


def _errors(run: str, operation: Operation) -> tuple[int, ...]:
    if operation == "read":
        return (errno.EIO,)
    return (errno.ENOSPC,) if run == "page" else (errno.ENOSPC, errno.EIO)  # a page takes seconds


def failing(
    trials: Trials, run: str, fault: FileFault, most: int, tried: list[int]
) -> Callable[[Path, CaseRandom], str]:
    """Return an attempt: the fault at the case's number of this operation."""

    def attempt(_: Path, chance: CaseRandom) -> str:
        trial, operation = trials[run], fault.operation
        number = chance.among(trial.counts[operation], most)
        tried.append(int(number is not None))
        if number is None:
            return ""
        own = fault._replace(number=number)
        wrong = problem(trial, lambda place: install(own, (place, trial.inputs)))
        return f"{own} of {trial.counts[operation]}: {wrong}" if wrong else ""

    return attempt
