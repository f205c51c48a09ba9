"""Tasks and device-hours of a study's remaining work, and the hours that a number of workers takes."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from byheart.core.config import Machine
from byheart.core.types import Table
from byheart.lm.base_models import parameter_count
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import BASE
from byheart.study.reference_models import reference_cell
from byheart.study.remaining_work import epoch_work, missing_evidence, observation_work, remaining_steps
from byheart.study.run_cell import base_observations
from byheart.study.tasks import Task


class Schedule(NamedTuple):
    """Remaining tasks of a study; hours count the work of models only, not loading, splits, gates or metrics.

    `device_hours` is the sum over tasks, `longest_hours` the longest task, and `hours` the time of `workers` workers with one
    device each. None if the size of a base model is unknown before it is downloaded.
    """

    tasks: int
    workers: int
    device_hours: float | None
    longest_hours: float | None
    hours: float | None


def schedule(tasks: Sequence[Task], store: Store, machine: Machine, flops_per_second: float) -> Schedule:
    """Return the remaining tasks and their hours on devices that reach this number of operations per second."""
    open_tasks = [t for t in tasks if not t.is_done(store)]
    seconds = task_seconds(open_tasks, store, flops_per_second)
    if seconds is None:
        return Schedule(len(open_tasks), machine.workers, None, None, None)
    requires = {t.key: tuple(k for k in t.requires if k in seconds) for t in open_tasks}
    return Schedule(
        len(open_tasks),
        machine.workers,
        sum(seconds.values()) / 3600,
        max(seconds.values(), default=0.0) / 3600,
        makespan(seconds, requires, machine.workers) / 3600,
    )


def task_seconds(tasks: Sequence[Task], store: Store, flops_per_second: float) -> dict[str, float] | None:
    """Return each task's seconds by its key, 2 operations per parameter and token; None if a model's size is unknown.

    Evidence that several tasks share is counted for the first one.
    """
    claimed_keys: set[str] = set()
    seconds: dict[str, float] = {}
    for task in tasks:
        size = parameter_count(task.planned.cell.base)
        if not size:
            return None
        seconds[task.key] = _work(task, store, claimed_keys) * 2 * size / flops_per_second
    return seconds


def _work(task: Task, store: Store, claimed_keys: set[str]) -> float:
    """Return a task's work in forward passes of one token, without evidence in `claimed_keys`; adds the task's evidence."""
    planned = task.planned
    if task.kind != "base":
        steps = remaining_steps(planned, store, claimed_keys)
        return sum(
            epoch_work(cell) * epochs + sum(observation_work(cell, o) for o in observations)
            for cell, epochs, observations in steps
            if cell in {planned, reference_cell(planned)}  # shadow models are tasks of their own
        )
    work = 0.0
    for observation in base_observations(planned, missing_evidence(planned, store).get(BASE, ())):
        key = evidence_key(planned, observation, BASE)
        work += 0.0 if key in claimed_keys else observation_work(planned, observation)
        claimed_keys.add(key)
    return work


def makespan(seconds: Mapping[str, float], requires: Mapping[str, Sequence[str]], workers: int) -> float:
    """Return the seconds until the last task ends, if each free worker takes the first task that can start.

    `seconds` holds each task's duration, in the order of the queue; `requires` the tasks that must end before it starts.
    """
    keys = list(seconds)
    missing = [len(requires[k]) for k in keys]
    dependents: dict[str, list[int]] = {k: [] for k in keys}
    for number, key in enumerate(keys):
        for required in requires[key]:
            dependents[required].append(number)
    ready, running, now = [n for n, count in enumerate(missing) if not count], list[tuple[float, int]](), 0.0
    while ready or running:
        while ready and len(running) < workers:
            number = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[keys[number]], number))
        now, ended = heapq.heappop(running)
        for number in dependents[keys[ended]]:
            missing[number] -= 1
            if not missing[number]:
                heapq.heappush(ready, number)
    return now


def _hours(hours: float | None) -> str:
    if hours is None:
        return "unknown"
    digits = next((d for limit, d in ((100, 0), (1, 1), (0.1, 2)) if hours >= limit), 4)
    return f"{hours:.{digits}f}"


def schedule_table(found: Schedule, machine: Machine) -> Table:
    """Return the tasks, devices and hours for each executor with the study's number of workers."""
    slurm = machine.slurm
    devices: tuple[tuple[str, str], ...] = (
        ("local", "1 GPU a worker, if this machine has them"),
        (
            "ray",
            "1 GPU a task, if the cluster has them"
            if machine.task_gpus is None
            else f"{machine.task_gpus:g} GPUs a task",
        ),
        ("slurm", "see machine.slurm.gres" if slurm is None or not slurm.gres else f"{slurm.gres} a job"),
    )
    lines = tuple(
        (
            name,
            str(found.workers),
            device,
            str(found.tasks),
            _hours(found.device_hours),
            _hours(found.longest_hours),
            _hours(found.hours),
        )
        for name, device in devices
    )
    header = ("executor", "workers", "devices", "tasks", "device-hours", "longest task (h)", "hours")
    note = (
        "Hours count training and observations at the speed of this processor, or at --tflops. Loading models, splits, attacks "
        "and metrics come on top."
    )
    return Table("Executors", header, lines, note)
