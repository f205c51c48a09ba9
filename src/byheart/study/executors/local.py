"""Executor `local`: one process, or several processes of this machine.

If a worker process dies, all unfinished cells fail; run again to resume.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from byheart.core.config import Machine
from byheart.core.library_warnings import silence_library_warnings
from byheart.store.store import Store
from byheart.study.executors._task_futures import run_by_futures
from byheart.study.executors._task_sequence import run_in_sequence
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.task_share import Share
from byheart.study.tasks import CellOutcome, Task, run_planned_task
from byheart.study.train_and_observe import release_base_model

TaskCallback = Callable[[Task, CellOutcome], None]


def run_local_tasks(
    tasks: Sequence[Task],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    on_task_end: TaskCallback,
    share: Share,
) -> dict[str, CellOutcome]:
    """Run all tasks in this process, or in `machine.workers` processes; return their outcomes by key.

    A process that is one of several workers begins with its `share`.
    """
    if machine.workers > 1:
        return _run_in_processes(tasks, store, machine, on_task_end)
    reported = set[str]()

    def report_claimed(task: Task) -> None:
        if task.key not in reported:
            on_event(Event("begin", task.label, "locked by another run; skipping for now"))
        reported.add(task.key)

    def run(task: Task) -> CellOutcome | None:
        return run_planned_task(task, store, machine, on_event, wait=False)

    try:
        return run_in_sequence(tasks, store, share, run, report_claimed, on_task_end)
    finally:
        release_base_model()


def _run_in_processes(
    tasks: Sequence[Task], store: Store, machine: Machine, on_task_end: TaskCallback
) -> dict[str, CellOutcome]:
    # Spawned, not forked: torch's threads and CUDA do not survive a fork.
    context = multiprocessing.get_context("spawn")
    numbers: Any = context.Value("i", 0)
    with ProcessPoolExecutor(
        machine.workers, context, initializer=_initialize_worker, initargs=(numbers, machine.workers)
    ) as pool:

        def submit(task: Task) -> Future[CellOutcome | None]:
            with _ignore_interrupts():
                return pool.submit(_run_quietly, task, store, machine)

        try:
            return run_by_futures(tasks, submit, on_task_end, _worker_error)
        except KeyboardInterrupt:
            # Complete results are stored, so that there is no need to wait for incomplete ones.
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _worker_error(error: Exception) -> str:
    if not isinstance(error, BrokenProcessPool):
        raise error
    return "a worker process died, possibly out of memory. Run again with fewer --workers."


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


def _run_quietly(task: Task, store: Store, machine: Machine) -> CellOutcome | None:
    return run_planned_task(task, store, machine, lambda _event: None, wait=False)


def end_with_parent() -> None:
    """End this process when its parent ends, also by SIGKILL; a worker that waits for a task would otherwise stay."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end with parent").start()


def _initialize_worker(numbers: Any, workers: int) -> None:
    """Set a new worker's number of threads (its share of the cores) and its GPU, if there is one."""
    end_with_parent()
    with numbers.get_lock():
        number = numbers.value
        numbers.value += 1
    import torch

    silence_library_warnings()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
