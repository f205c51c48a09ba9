"""Run tasks by futures: start each when the tasks that it requires have ended, and come back to claimed ones later."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from byheart.study.tasks import CellOutcome, Task, dependents_of, earlier_failure

RETRY_SECONDS = 1.0
"""A task that another run has claimed is started again after this time."""

Submit = Callable[[Task], "Future[CellOutcome | None]"]


def run_by_futures(
    tasks: Sequence[Task],
    submit: Submit,
    on_task_end: Callable[[Task, CellOutcome], None],
    worker_error: Callable[[Exception], str],
) -> dict[str, CellOutcome]:
    """Run all tasks and return their outcomes by key.

    A future gives None for a task that another run has claimed. `worker_error` returns the message of a task whose worker
    died; errors inside a task are outcomes.
    """
    queue = _Queue(tasks, on_task_end)
    running: dict[Future[CellOutcome | None], Task] = {}
    while queue.ready or queue.claimed or running:
        while task := queue.next_ready():
            try:
                running[submit(task)] = task
            except Exception as error:  # noqa: BLE001 - the workers died
                queue.end(task, CellOutcome(task.label, "", (), worker_error(error)))
        if not running:
            time.sleep(RETRY_SECONDS if queue.claimed else 0.0)
            continue
        done, _ = wait(running, RETRY_SECONDS if queue.claimed else None, FIRST_COMPLETED)
        for future in done:
            task = running.pop(future)
            try:
                outcome = future.result()
            except Exception as error:  # noqa: BLE001 - a worker died
                outcome = CellOutcome(task.label, "", (), worker_error(error))
            queue.end(task, outcome)
    return queue.outcomes


class _Queue:
    """The tasks that wait: for the tasks that they require, for a worker, or for another run that has claimed them."""

    def __init__(self, tasks: Sequence[Task], on_task_end: Callable[[Task, CellOutcome], None]) -> None:
        self.outcomes: dict[str, CellOutcome] = {}
        self.ready = deque(t for t in tasks if not t.requires)
        self.claimed: deque[tuple[float, Task]] = deque()
        """With the time of the next attempt; the earliest comes first."""
        self._on_task_end = on_task_end
        self._lacking = {t.key: set(t.requires) for t in tasks}
        self._dependents = dependents_of(tasks)

    def next_ready(self) -> Task | None:
        """Return the next task to start; None if all others wait. A task that a failure makes useless ends here."""
        while self.claimed and self.claimed[0][0] <= time.monotonic():
            self.ready.append(self.claimed.popleft()[1])
        while self.ready:
            task = self.ready.popleft()
            failed = earlier_failure(task, self._dependents[task.key], self.outcomes)
            if failed is None:
                return task
            self.end(task, failed)
        return None

    def end(self, task: Task, outcome: CellOutcome | None) -> None:
        """Record a task's outcome and free the tasks that require it; without an outcome, try again later."""
        if outcome is None:
            self.claimed.append((time.monotonic() + RETRY_SECONDS, task))
            return
        self.outcomes[task.key] = outcome
        self._on_task_end(task, outcome)
        for dependent in self._dependents[task.key]:
            self._lacking[dependent.key].discard(task.key)
            if not self._lacking[dependent.key]:
                self.ready.append(dependent)
