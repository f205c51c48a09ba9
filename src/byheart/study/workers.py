"""Cells over processes, and the only broad `except`: a cell that fails is recorded and reported, the others go on.

A cell is claimed before it is made, so that several workers, or several runs on one store, share the work instead of
doing it twice.
"""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byheart.core.config import Machine
from byheart.core.errors import ByheartError
from byheart.core.library_warnings import silence_library_warnings
from byheart.core.types import Row
from byheart.store.store import Store
from byheart.study.planned_cell import PlannedCell
from byheart.study.run_cell import run_cell
from byheart.study.train_and_observe import Event, ProgressCallback, release_base_model

CellCallback = Callable[["CellOutcome"], None]


@dataclass(frozen=True)
class CellOutcome:
    """What became of a cell: its rows and their key, or the error in one line and, for one not ours, its traceback."""

    cell: str
    key: str
    rows: tuple[Row, ...]
    error: str = ""
    trace: str = ""


def run_cells(
    planned: Sequence[PlannedCell],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    on_cell_end: CellCallback,
) -> list[CellOutcome]:
    """Make every cell, telling what happens, and return what became of each, in the order given.

    With several workers the steps inside a cell are not told, only each cell's end.
    """
    if machine.workers > 1:
        outcomes = _run_in_processes(planned, store, machine, on_cell_end)
    else:
        try:
            outcomes = _run_in_sequence(planned, store, machine, on_event, on_cell_end)
        finally:
            release_base_model()
    return [outcomes[i] for i in range(len(planned))]


def _run_in_sequence(
    planned: Sequence[PlannedCell],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    on_cell_end: CellCallback,
) -> dict[int, CellOutcome]:
    """Make cells one after another; those that another run holds come last."""
    outcomes: dict[int, CellOutcome] = {}
    for wait in (False, True):
        for number, one in enumerate(planned):
            if number in outcomes:
                continue
            with store.claim(_claim_name(one), wait=wait) as ours:
                if not ours:
                    on_event(Event("begin", one.cell.label, "another run is at it; going on with the next"))
                    continue
                outcomes[number] = _cell_outcome(one, store, machine, on_event)
                on_cell_end(outcomes[number])
    return outcomes


def _claim_name(planned: PlannedCell) -> str:
    """Return what a cell is claimed as: its key, and within one launch of several processes each its own.

    Those train the same cell together, so that none may keep the others out.
    """
    rank = os.environ.get("RANK")
    return planned.key if rank is None else f"{planned.key}-{rank}"


def _cell_outcome(planned: PlannedCell, store: Store, machine: Machine, on_event: ProgressCallback) -> CellOutcome:
    label = planned.cell.label
    try:
        key, rows = run_cell(planned, store, machine, on_event)
    except ByheartError as error:
        return CellOutcome(label, "", (), str(error))
    except Exception as error:  # noqa: BLE001 - whatever breaks a cell must not take the others along
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        foreign = _external_error_place(planned, error)
        return CellOutcome(label, "", (), f"{foreign}{told}", "" if foreign else traceback.format_exc())
    return CellOutcome(label, key, tuple(rows))


def _external_error_place(planned: PlannedCell, error: Exception) -> str:
    """Return the place in somebody else's `module:function` that raised an error, or "" where none of theirs did."""
    frames = traceback.extract_tb(error.__traceback__)
    for choice in (*planned.attacks, *planned.metrics, planned.cell.method):
        file = inspect.getfile(inspect.unwrap(choice.function))
        lines = [f.lineno for f in frames if f.filename == file]
        if ":" in choice.name and lines:
            return f"{choice.shelf} {choice.name} failed in {Path(file).name} line {lines[-1]}: "
    return ""


def _run_in_processes(
    planned: Sequence[PlannedCell], store: Store, machine: Machine, on_cell_end: CellCallback
) -> dict[int, CellOutcome]:
    # Spawned, not forked: torch's threads and CUDA do not survive a fork.
    context = multiprocessing.get_context("spawn")
    numbers: Any = context.Value("i", 0)
    outcomes: dict[int, CellOutcome] = {}
    with ProcessPoolExecutor(
        machine.workers, context, initializer=_initialize_worker, initargs=(numbers, machine.workers)
    ) as pool:
        try:
            with _ignore_interrupts():
                pending = {pool.submit(_run_claimed_cell, one, store, machine): i for i, one in enumerate(planned)}
            for done in as_completed(pending):
                try:
                    outcome = done.result()
                except BrokenProcessPool:
                    told = "a worker process died, perhaps for want of memory; run again with fewer --workers"
                    outcome = CellOutcome(planned[pending[done]].cell.label, "", (), told)
                outcomes[pending[done]] = outcome
                on_cell_end(outcome)
        except KeyboardInterrupt:
            # Whole results are kept, so that nobody need wait for what is half made.
            for child in multiprocessing.active_children():
                child.terminate()
            raise
    return outcomes


@contextlib.contextmanager
def _ignore_interrupts() -> Generator[None]:
    """Start processes that Ctrl-C does not reach, although a terminal sends it to all: the first one ends the others."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_claimed_cell(planned: PlannedCell, store: Store, machine: Machine) -> CellOutcome:
    with store.claim(_claim_name(planned), wait=True):
        return _cell_outcome(planned, store, machine, lambda _event: None)


def _initialize_worker(numbers: Any, workers: int) -> None:
    """Give a new worker its share of the processor's cores, and one of the GPUs if there are any."""
    with numbers.get_lock():
        number = numbers.value
        numbers.value += 1
    import torch

    silence_library_warnings()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
