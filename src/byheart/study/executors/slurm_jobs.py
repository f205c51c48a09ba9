"""Executor `slurm`: an array of Slurm jobs that share the tasks of a study (`pip install 'byheart[slurm]'`).

Every job runs the study and takes the tasks that no other job has claimed. So jobs may start at any time, and one that reaches
its time limit is queued again and continues from the last epoch. submitit submits the jobs.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from byheart.analysis.paper_values import PublishedValue
from byheart.core.config import Machine, Slurm
from byheart.core.errors import SettingError
from byheart.store.lease import LOG_VARIABLE
from byheart.store.probe import answer, ask, withdraw
from byheart.store.store import Store
from byheart.study.progress_events import Event
from byheart.study.remote_tasks import Surroundings, check_version, enter, surroundings
from byheart.study.study_file import Study, parse_study
from byheart.study.task_share import Share
from byheart.study.tasks import ATTEMPT_VARIABLE

LOGS = "logs"
"""Folder of the store with the jobs' logs."""
MAX_TIMEOUTS = 100
"""A job is queued again this many times after its time limit."""


class Submission(NamedTuple):
    """Submitted jobs: their ids and the folder of their logs."""

    jobs: tuple[str, ...]
    logs: Path


@dataclass(frozen=True)
class StudyJob:
    """One job: it runs the study with one worker, and shares its tasks with the other jobs of the `attempt`."""

    content: Mapping[str, Any]
    name: str
    command: str
    published: tuple[PublishedValue, ...]
    place: Surroundings
    question: str
    attempt: str
    cpus: int
    jobs: int
    inputs: str

    def __call__(self, number: int) -> int:
        """Run the study to its end, beginning with this job's share, and return the number of failed cells."""
        from byheart.study.run_study import run_share  # that module imports this one

        os.environ.setdefault("OMP_NUM_THREADS", str(self.cpus))  # before torch is imported
        enter(self.place)
        check_version(self.place)
        answer(self.place.store, self.question, f"{platform.node()}-{number}")
        os.environ[ATTEMPT_VARIABLE] = self.attempt
        os.environ[LOG_VARIABLE] = str(_submitit().JobEnvironment().paths.stderr)
        content = {n: v for n, v in self.content.items() if n != "published"}
        study = parse_study(content, default_name=self.name)
        machine = dataclasses.replace(study.machine, executor="local", workers=1)
        study = dataclasses.replace(
            study, machine=machine, command=self.command, published=self.published, content=self.content
        )
        share = Share(number, self.jobs, self.inputs)
        failed = run_share(study, Store.open(self.place.store), share, tell=_log_event)
        for outcome in failed:
            sys.stderr.write(f"failed  {outcome.cell}: {outcome.error}\n{outcome.trace}")
        return len(failed)

    def checkpoint(self, number: int) -> Any:
        """Return the job that is queued again at the time limit: the same, because the store has what is finished."""
        return _submitit().helpers.DelayedSubmission(self, number)


def submit_jobs(study: Study, store: Store, tasks: int, inputs: str, executor: Any) -> Submission:
    """Submit the jobs of a study to an `executor` and return without waiting for them.

    There are `machine.workers` jobs, but no more than `tasks`. A job on a host that plans from other `inputs` fails. Raises
    `SettingError` for jobs that Slurm refuses.
    """
    question = ask(store)
    count = max(1, min(study.machine.workers, tasks))
    job = StudyJob(
        study.content,
        study.name,
        study.command,
        study.published,
        surroundings(store, study.name),
        question,
        uuid.uuid4().hex,
        study.machine.task_cpus,
        count,
        inputs,
    )
    try:
        jobs = executor.map_array(job, range(count))
    except Exception as error:
        withdraw(store, question)
        reason = " ".join(str(error).split())[-200:]
        raise SettingError(
            f"machine.slurm: Slurm refused the jobs ({reason}). Correct partition, account or gres."
        ) from error
    return Submission(tuple(j.job_id for j in jobs), store.root / LOGS)


def _log_event(event: Event) -> None:
    sys.stderr.write(f"{event.cell}: {event.text}\n")


def _submitit() -> Any:
    try:
        return importlib.import_module("submitit")
    except ImportError as error:
        raise SettingError(
            "machine.executor = slurm: submitit is not installed. Install it: pip install 'byheart[slurm]'"
        ) from error


def job_executor(store: Store, machine: Machine) -> Any:
    """Return submitit's executor with the settings of the study.

    Raises `SettingError` without submitit or Slurm, and for parts of a GPU, which Slurm does not give.
    """
    if machine.task_gpus is not None and not float(machine.task_gpus).is_integer():
        raise SettingError(
            f"machine.task_gpus = {machine.task_gpus:g}: a Slurm job has whole GPUs. Write a whole number, or set slurm.gres."
        )
    submitit, settings = _submitit(), machine.slurm or Slurm()
    (store.root / LOGS).mkdir(exist_ok=True)
    try:
        executor = submitit.AutoExecutor(
            folder=store.root.absolute() / LOGS / "%j", cluster=settings.cluster, slurm_max_num_timeout=MAX_TIMEOUTS
        )
    except RuntimeError as error:
        raise SettingError(
            "machine.executor = slurm: this host has no srun. Run the command on a login node of a Slurm cluster."
        ) from error
    parameters = {
        "name": "byheart",
        "timeout_min": settings.minutes,
        "cpus_per_task": machine.task_cpus,
        "mem_gb": machine.task_memory_gb,
        "gpus_per_node": None if machine.task_gpus is None else int(machine.task_gpus),
        "slurm_array_parallelism": machine.workers,
        "slurm_partition": settings.partition,
        "slurm_account": settings.account,
        "slurm_gres": settings.gres,
    }
    executor.update_parameters(**{n: v for n, v in parameters.items() if v is not None})
    return executor
