"""Run cells by the executor of the study: in processes of this machine, or on a Ray cluster.

An error in a cell does not stop the other cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.core.config import Machine
from byheart.store.listed_results import ListedResults
from byheart.store.store import Store
from byheart.study.executors.local import run_local_tasks
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import ProgressCallback
from byheart.study.task_share import Share
from byheart.study.tasks import TASKS, CellCallback, CellOutcome, Task, tasks_of


def run_cells(
    planned: Sequence[PlannedCell],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    on_cell_end: CellCallback,
    *,
    study: str,
    share: Share,
) -> list[CellOutcome]:
    """Run every cell and return the outcomes in the order of `planned`.

    `on_event` receives the steps inside cells, with one worker only; `on_cell_end` receives each outcome. A process that is one of
    several workers begins with its `share`.
    """
    tasks = tasks_of(planned, ListedResults(store))
    note_tasks(store, study, tasks)

    def on_task_end(task: Task, outcome: CellOutcome) -> None:
        if task.is_reported:
            on_cell_end(outcome)

    if machine.executor == "ray":
        from byheart.study.executors.ray_cluster import run_ray_tasks  # imported late: an optional package

        outcomes = run_ray_tasks(tasks, store, machine, study, on_task_end)
    else:
        outcomes = run_local_tasks(tasks, store, machine, on_event, on_task_end, share)
    return [outcomes[Task("trial" if p.is_trial else "cell", p).key] for p in planned]


def check_executor(machine: Machine) -> None:
    """Raise `SettingError` before any work if the executor's package is missing, or its cluster does not answer."""
    if machine.executor == "ray":
        from byheart.study.executors.ray_cluster import check_ray  # as above

        check_ray(machine)


def note_tasks(store: Store, study: str, tasks: Sequence[Task]) -> None:
    """Store the tasks of a study: their names, claims, the tasks that they require, and the keys of their results."""
    notes = [
        {
            "key": t.key,
            "task": t.label,
            "kind": t.kind,
            "claim": t.claim,
            "requires": t.requires,
            "results": t.results,
        }
        for t in tasks
    ]
    store.note(TASKS, study, {"tasks": notes})


__all__ = ["CellCallback", "CellOutcome", "check_executor", "note_tasks", "run_cells"]
