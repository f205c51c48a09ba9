"""Tasks: the parts of a study that workers run independently of each other, on one machine or many.

A cell is cut along the keys of its results: the base model's evidence, each shadow model, and the cell itself. A task is
claimed before it runs, and does nothing if the store has its results, so that it may be started twice anywhere.

Every error of a task becomes its outcome here, so that one cell never stops the others.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import platform
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from byheart.core.config import Machine
from byheart.core.errors import ByheartError
from byheart.core.machine_faults import machine_fault_line
from byheart.core.registry import key_of
from byheart.core.types import Row
from byheart.store.lease import LOG_VARIABLE
from byheart.store.listed_results import ListedResults
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.learning_rate_search import STAGE, run_trial, trial_key
from byheart.study.observed_states import BASE
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import ProgressCallback
from byheart.study.remaining_work import missing_evidence
from byheart.study.run_cell import base_observations, needs_shadows, observe_base, rows_key, run_cell, run_shadow
from byheart.study.shadow_models import shadow_cells

TASKS = "tasks"
"""Stage of the store with a note for each study: the tasks that it runs, for `byheart status` and for workers."""


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


CellCallback = Callable[[CellOutcome], None]
FAILURES = "failures"
"""Stage of the store with a note for each failed task: its error, host and log."""
ATTEMPT_VARIABLE = "BYHEART_ATTEMPT"
"""Environment variable with the name of a submission, whose jobs do not repeat each other's failures."""


@dataclass(frozen=True)
class Task:
    """A cell, a trial, a shadow model of a cell, or the evidence of a cell's base model; `requires` are keys of tasks.

    A shadow model is a `planned` cell of its own.
    """

    kind: Literal["base", "shadow", "cell", "trial"]
    planned: PlannedCell
    requires: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the task that is unique in the study."""
        return f"{self.planned.label} · base model" if self.kind == "base" else self.planned.label

    @property
    def is_reported(self) -> bool:
        """Whether a run reports the outcome: other tasks are parts of a cell."""
        return self.kind in {"cell", "trial"}

    @cached_property
    def results(self) -> tuple[tuple[str, str], ...]:
        """Stage and key of each of its results."""
        planned = self.planned
        if self.kind == "trial":
            return ((STAGE, trial_key(planned)),)
        if self.kind == "cell":
            return (("rows", rows_key(planned)),)
        if self.kind == "base":
            evidence = {evidence_key(planned, o, BASE) for o in base_observations(planned, planned.observations)}
            return tuple(("evidence", key) for key in sorted(evidence))
        evidence = {evidence_key(planned, o, s) for o in planned.observations for s in planned.states}
        return (("training", planned.key), *(("evidence", key) for key in sorted(evidence)))

    @cached_property
    def key(self) -> str:
        """Key of the task: the hash of the keys of its results."""
        return key_of({"task": self.kind, "results": self.results})

    @property
    def claim(self) -> str:
        """Name of the task's claim: the key of the training, so that no model is trained twice at once.

        The processes of a distributed launch train the same model together, so each has its own claim.
        """
        rank = os.environ.get("RANK")
        name = self.key if self.kind == "base" else self.planned.key
        return name if rank is None else f"{name}-{rank}"

    def is_done(self, store: Store | ListedResults) -> bool:
        """Whether the store has all results of the task."""
        return all(store.has(stage, key) for stage, key in self.results)


def tasks_of(planned: Iterable[PlannedCell], store: Store | ListedResults | None) -> tuple[Task, ...]:
    """Return the tasks of all cells, each after the tasks that it requires; one that cells share occurs once.

    Without a `store`, also the shadow models that no missing result needs.
    """
    tasks: dict[str, Task] = {}
    for cell in planned:
        for task in _cell_tasks(cell, store):
            tasks.setdefault(task.key, task)
    return tuple(tasks.values())


def _cell_tasks(cell: PlannedCell, store: Store | ListedResults | None) -> list[Task]:
    if cell.is_trial:
        return [Task("trial", cell)]
    missing = missing_evidence(cell, store)
    if not needs_shadows(missing):
        return [Task("cell", cell)]
    tasks = [Task("base", cell)] if base_observations(cell, missing.get(BASE, ())) else []
    first = tuple(t.key for t in tasks)
    tasks += [Task("shadow", shadow, first) for shadow in shadow_cells(cell)]
    return [*tasks, Task("cell", cell, tuple(t.key for t in tasks))]


def run_planned_task(
    task: Task, store: Store, machine: Machine, on_event: ProgressCallback, *, wait: bool
) -> CellOutcome | None:
    """Run a task and return its outcome. If another worker has claimed it, wait, or return None unless `wait`."""
    return run_claimed(task, store, lambda: _outcome(task, store, machine, on_event), wait=wait)


def run_claimed(task: Task, store: Store, run: Callable[[], CellOutcome], *, wait: bool) -> CellOutcome | None:
    """Call `run` while the task is claimed, and return its outcome; without a claim if the results are stored.

    A failure is stored in a note. A task that failed in this attempt does not run again.
    """
    if task.is_done(store):  # read without a claim, for which many workers would wait
        return run() if task.is_reported else CellOutcome(task.label, "", ())
    with store.claim(task.claim, wait=wait) as is_claimed:
        if not is_claimed:
            return None
        if failure := _failure_of_this_attempt(task, store):
            return failure
        outcome = run()
        _note_failure(task, store, outcome)
        return outcome


def dependents_of(tasks: Sequence[Task]) -> Mapping[str, list[Task]]:
    """Return the tasks that require each task, by its key."""
    dependents: dict[str, list[Task]] = {t.key: [] for t in tasks}
    for task in tasks:
        for key in task.requires:
            dependents[key].append(task)
    return dependents


def earlier_failure(task: Task, dependents: Sequence[Task], outcomes: Mapping[str, CellOutcome]) -> CellOutcome | None:
    """Return the failure that makes a task impossible or useless; None for a task that should run.

    It failed in a task that this one requires, or in others that all `dependents` of this one require.
    """
    failed = _required_failure(task, outcomes)
    if failed is None and dependents:
        failures = [_required_failure(d, outcomes) for d in dependents]
        failed = failures[0] if all(failures) else None
    return None if failed is None else dataclasses.replace(failed, cell=task.label)


def _required_failure(task: Task, outcomes: Mapping[str, CellOutcome]) -> CellOutcome | None:
    return next((outcomes[k] for k in task.requires if k in outcomes and outcomes[k].error), None)


def _outcome(task: Task, store: Store, machine: Machine, on_event: ProgressCallback) -> CellOutcome:
    planned, label = task.planned, task.label
    try:
        if task.kind == "trial":
            return CellOutcome(label, "", (), note=run_trial(planned, store, machine, on_event))
        if task.kind == "cell":
            key, rows = run_cell(planned, store, machine, on_event)
            return CellOutcome(label, key, tuple(rows))
        part = observe_base if task.kind == "base" else run_shadow
        part(planned, store, machine, on_event)
    except ByheartError as error:
        return CellOutcome(label, "", (), str(error))
    except Exception as error:  # noqa: BLE001 - an error in one cell must not stop the others
        if line := machine_fault_line(error):
            return CellOutcome(label, "", (), line)
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        external = _external_error_place(planned, error)
        return CellOutcome(label, "", (), f"{external}{message}", "" if external else traceback.format_exc())
    return CellOutcome(label, "", ())


def _failure_of_this_attempt(task: Task, store: Store) -> CellOutcome | None:
    attempt = os.environ.get(ATTEMPT_VARIABLE)
    note = store.find_note(FAILURES, task.key) if attempt else None
    if note is None or note["attempt"] != attempt:
        return None
    return CellOutcome(task.label, "", (), note["error"], note["trace"])


def _note_failure(task: Task, store: Store, outcome: CellOutcome) -> None:
    """Store the error of a failed task, or remove the error of an earlier attempt."""
    if not outcome.error:
        store.drop_note(FAILURES, task.key)
        return
    note = {
        "task": task.label,
        "error": outcome.error,
        "trace": outcome.trace,
        "host": platform.node(),
        "log": os.environ.get(LOG_VARIABLE, ""),
        "attempt": os.environ.get(ATTEMPT_VARIABLE, ""),
    }
    store.note(FAILURES, task.key, note)


def _external_error_place(planned: PlannedCell, error: Exception) -> str:
    """Return the line of external code (`module:function`) that raised the error; "" for an error elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    for choice in (*planned.attacks, *planned.metrics, planned.cell.method):
        file = inspect.getfile(inspect.unwrap(choice.function))
        lines = [f.lineno for f in frames if f.filename == file]
        if ":" in choice.name and lines:
            return f"{choice.shelf} {choice.name} failed in {Path(file).name} line {lines[-1]}: "
    return ""
