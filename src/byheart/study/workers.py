"""Run cells in one or several processes.

An error in a cell does not stop the other cells. If a worker process dies, all unfinished cells fail; run again to resume.

This module has the only broad `except`. A cell is claimed before it runs, so that several workers, or several runs on
one store, share the work instead of repeating it.
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
from byheart.study.learning_rate_search import run_trial
from byheart.study.planned_cell import PlannedCell
from byheart.study.run_cell import run_cell
from byheart.study.train_and_observe import Event, ProgressCallback, release_base_model

CellCallback = Callable[["CellOutcome"], None]


@dataclass(frozen=True)
class CellOutcome:
    """Outcome of a cell: its rows and their key, or a one-line error; unexpected errors have a traceback.

    The outcome of a trial of a learning rate has its result as a `note`, and no rows.
    """

    cell: str
    key: str
    rows: tuple[Row, ...]
    error: str = ""
    trace: str = ""
    note: str = ""


def run_cells(
    planned: Sequence[PlannedCell],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    on_cell_end: CellCallback,
) -> list[CellOutcome]:
    """Run every cell and return the outcomes in the order of `planned`.

    `on_event` receives the steps inside cells, with one worker only; `on_cell_end` receives each outcome.
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
    """Run cells one after another; cells that are locked by another run come last."""
    outcomes: dict[int, CellOutcome] = {}
    for wait in (False, True):
        for number, cell in enumerate(planned):
            if number in outcomes:
                continue
            with store.claim(_claim_name(cell), wait=wait) as is_claimed:
                if not is_claimed:
                    on_event(Event("begin", cell.label, "locked by another run; skipping for now"))
                    continue
                outcomes[number] = _cell_outcome(cell, store, machine, on_event)
                on_cell_end(outcomes[number])
    return outcomes


def _claim_name(planned: PlannedCell) -> str:
    """Return the name of a cell's claim: its key, with the rank in a distributed launch.

    The processes of such a launch train the same cell together, so they must not lock each other out.
    """
    rank = os.environ.get("RANK")
    return planned.key if rank is None else f"{planned.key}-{rank}"


def _cell_outcome(planned: PlannedCell, store: Store, machine: Machine, on_event: ProgressCallback) -> CellOutcome:
    label = planned.label
    try:
        if planned.is_trial:
            return CellOutcome(label, "", (), note=run_trial(planned, store, machine, on_event))
        key, rows = run_cell(planned, store, machine, on_event)
    except ByheartError as error:
        return CellOutcome(label, "", (), str(error))
    except Exception as error:  # noqa: BLE001 - an error in one cell must not stop the others
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        external = _external_error_place(planned, error)
        return CellOutcome(label, "", (), f"{external}{message}", "" if external else traceback.format_exc())
    return CellOutcome(label, key, tuple(rows))


def _external_error_place(planned: PlannedCell, error: Exception) -> str:
    """Return the line of external code (`module:function`) that raised the error; "" for an error elsewhere."""
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
                pending = {pool.submit(_run_claimed_cell, cell, store, machine): i for i, cell in enumerate(planned)}
            for done in as_completed(pending):
                try:
                    outcome = done.result()
                except BrokenProcessPool:
                    message = "a worker process died, possibly out of memory. Run again with fewer --workers."
                    outcome = CellOutcome(planned[pending[done]].label, "", (), message)
                outcomes[pending[done]] = outcome
                on_cell_end(outcome)
        except KeyboardInterrupt:
            # Complete results are stored, so that there is no need to wait for incomplete ones.
            for child in multiprocessing.active_children():
                child.terminate()
            raise
    return outcomes


@contextlib.contextmanager
def _ignore_interrupts() -> Generator[None]:
    """Ignore SIGINT in the processes started here: a terminal sends it to all, and the main process ends the workers."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
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
    """Set a new worker's number of threads (its share of the cores) and its GPU, if there is one."""
    with numbers.get_lock():
        number = numbers.value
        numbers.value += 1
    import torch

    silence_library_warnings()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
