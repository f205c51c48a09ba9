"""Submit a study to Slurm: plan and check it here, and return when the jobs are queued."""

from __future__ import annotations

from byheart.store.listed_results import ListedResults
from byheart.store.store import Store
from byheart.study.estimate import check_method_packages
from byheart.study.executors.slurm_jobs import Submission, job_executor, submit_jobs
from byheart.study.learning_rate_search import with_pending_trials
from byheart.study.plan import plan
from byheart.study.planned_inputs import inputs_key
from byheart.study.remaining_work import remaining_work_by_cell
from byheart.study.run_cells import note_tasks
from byheart.study.split_checks import split_gates
from byheart.study.study_file import Study
from byheart.study.tasks import tasks_of


def submit(study: Study, store: Store) -> Submission:
    """Plan a study, check its splits, and submit its jobs. Raises `RequestError` for an invalid request."""
    executor = job_executor(store, study.machine)
    planned = plan(study, store)
    with_trials, listed = with_pending_trials(planned, store), ListedResults(store)
    check_method_packages(with_trials, remaining_work_by_cell(with_trials, listed))
    split_gates(planned, store)
    tasks = tasks_of(with_trials, listed)
    note_tasks(store, study.name, tasks)
    return submit_jobs(study, store, len(tasks), inputs_key(planned), executor)
