"""State of each task of a store's studies: done, running, failed or waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from byheart.core.json_shapes import as_declared
from byheart.core.types import Table
from byheart.store.result_files import damaged_result_error
from byheart.store.store import Store
from byheart.study.tasks import FAILURES, TASKS


class TaskState(NamedTuple):
    """State of a task: "done", "running", "failed" or "waiting".

    A running task has the host, the process and the seconds of its worker, a failed one its host, error and traceback. `log`
    is a file, or "" for a worker that writes none.
    """

    study: str
    task: str
    key: str
    state: str
    host: str = ""
    process: int | None = None
    seconds: float | None = None
    error: str = ""
    trace: str = ""
    log: str = ""


@dataclass(frozen=True)
class NotedTask:
    """A task in a study's note; notes of older versions have no `requires`."""

    task: str
    key: str
    claim: str
    results: list[tuple[str, str]]
    requires: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class NotedTasks:
    """The note of a study's tasks."""

    tasks: list[NotedTask]


@dataclass(frozen=True)
class NotedFailure:
    """The note of a task that failed."""

    error: str
    host: str
    trace: str
    log: str


Noted = TypeVar("Noted", NotedTasks, NotedFailure)


def _declared(declared: type[Noted], note: Any, path: Path) -> Noted:
    """Return a note as its type; raises `StoreError` for another content."""
    try:
        return as_declared(declared, note)
    except ValueError as error:
        raise damaged_result_error(path, error) from error


def task_states(store: Store) -> list[TaskState]:
    """Return the state of every task that the last run of each study planned."""
    return [s for study, note in store.notes(TASKS).items() for s in _states(store, study, note)]


def _states(store: Store, study: str, planned: Mapping[str, Any]) -> Iterator[TaskState]:
    failed: dict[str, str] = {}
    for task in _declared(NotedTasks, planned, store.root / TASKS / f"{study}.json").tasks:
        label, key = task.task, task.key
        if all(store.has(stage, result) for stage, result in task.results):
            yield TaskState(study, label, key, "done")
        elif holder := store.claim_holder(task.claim):
            yield TaskState(
                study, label, key, "running", holder.host, holder.process, round(holder.seconds, 1), log=holder.log
            )
        elif found := store.find_note(FAILURES, key):
            note = _declared(NotedFailure, found, store.root / FAILURES / f"{key}.json")
            failed[key] = f"{label}: {note.error}"
            yield TaskState(study, label, key, "failed", note.host, error=note.error, trace=note.trace, log=note.log)
        elif required := next((failed[k] for k in task.requires if k in failed), None):
            yield TaskState(study, label, key, "failed", error=f"requires {required}")
        else:
            yield TaskState(study, label, key, "waiting")


def status_table(states: Sequence[TaskState]) -> Table:
    """Return a table of the tasks; done and waiting tasks are counted by study."""
    rows: list[tuple[str, ...]] = []
    for study in dict.fromkeys(s.study for s in states):
        own = [s for s in states if s.study == study]
        counts = Counter(s.state for s in own)
        rows += [
            (study, state, f"{counts[state]} of {len(own)} tasks", "", "")
            for state in ("done", "waiting")
            if counts[state]
        ]
        for s in own:
            if s.state == "running":
                rows.append((study, s.state, s.task, f"{s.host}, process {s.process}, {s.seconds:.0f} s", s.log))
            elif s.state == "failed":
                rows.append((study, s.state, f"{s.task}: {s.error}", s.host, s.log))
    return Table("Tasks", ("study", "state", "task", "worker", "log"), tuple(rows))
