"""Run a task by its key in a process that has only the store: it plans the study again, from the stored study file.

Planning compares hashes: the key of a task covers the base model's files, the texts and the settings, so that a host with other
files or another byheart plans other keys and is refused.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

from byheart.core.config import Machine
from byheart.core.errors import StoreError
from byheart.store.store import Store
from byheart.study.learning_rate_search import all_trials
from byheart.study.plan import plan_cells
from byheart.study.study_file import Study, parse_study
from byheart.study.tasks import TASKS, CellOutcome, Task, run_planned_task, tasks_of


def run_task(store: Store, key: str, *, study: str | None = None, wait: bool = True) -> CellOutcome | None:
    """Run a task of a study by its key, and return its outcome.

    It may be called twice, anywhere: a second call reads the results of the first. If another worker has claimed the task, the call waits,
    or returns None unless `wait`. `study` None searches all studies. Raises `StoreError` for a key that this host does not plan.
    """
    names = [study] if study else sorted(store.notes(TASKS))
    for name in names:
        task, machine = _planned_task(store, name, key)
        if task is not None:
            return run_planned_task(task, store, machine, lambda _event: None, wait=wait)
    raise StoreError(
        f"store {store.root}: {key} is no task of {study or 'its studies'} on host {platform.node()}, which plans other keys. "
        "Use the same model files, data and byheart on every host."
    )


def stored_study(store: Store, name: str) -> Study:
    """Return a study as the store keeps it, without its published values."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    note = store.find_note("studies", name)
    if note is None:
        raise StoreError(
            f"store {store.root}: has no study {name!r}. Start it: byheart run STUDY.yaml --store {store.root}"
        )
    content = yaml.load(note["written"]) or {}
    return parse_study({n: v for n, v in content.items() if n != "published"}, default_name=name)


def _planned_task(store: Store, study: str, key: str) -> tuple[Task | None, Machine]:
    try:
        changed = (store.root / TASKS / f"{study}.json").stat().st_mtime_ns
    except FileNotFoundError as error:
        raise StoreError(
            f"store {store.root}: has no tasks of a study {study!r}. Start it: byheart run STUDY.yaml --store {store.root}"
        ) from error
    tasks, machine = _planned_tasks(store.root, study, changed)
    return tasks.get(key), machine


@functools.lru_cache(maxsize=2)
def _planned_tasks(root: Path, study: str, _changed: int) -> tuple[dict[str, Task], Machine]:
    """Return the tasks of a stored study by key, planned once in a process unless its tasks change."""
    store = Store(root)
    parsed = stored_study(store, study)
    planned = plan_cells(parsed, store)
    return {t.key: t for t in tasks_of((*all_trials(planned, store), *planned), None)}, parsed.machine
