"""The plan's tasks and hours: the sum over tasks is the work of the cells, and workers share it as they would in a run."""

import pytest

from byheart.core.config import Machine
from byheart.store.store import Store
from byheart.study.plan import plan
from byheart.study.plan_schedule import makespan, schedule, task_seconds
from byheart.study.remaining_work import remaining_work_by_cell
from byheart.study.study_file import parse_study
from byheart.study.tasks import tasks_of
from testing.stores import shadow_study


def test_one_worker_takes_the_sum():
    assert makespan({"a": 2.0, "b": 3.0, "c": 4.0}, {"a": (), "b": (), "c": ()}, 1) == 9.0


def test_a_task_starts_after_those_it_requires():
    seconds = {"base": 1.0, "shadow 1": 5.0, "shadow 2": 5.0, "cell": 2.0}
    requires = {"base": (), "shadow 1": ("base",), "shadow 2": ("base",), "cell": ("base", "shadow 1", "shadow 2")}
    assert makespan(seconds, requires, 2) == 1.0 + 5.0 + 2.0
    assert makespan(seconds, requires, 1) == 13.0
    assert makespan(seconds, requires, 100) == 8.0


def test_a_free_worker_takes_the_next_task():
    seconds = {"a": 4.0, "b": 1.0, "c": 1.0, "d": 1.0}
    assert makespan(seconds, dict.fromkeys(seconds, ()), 2) == 4.0


@pytest.mark.parametrize("attacks", [["loss"], ["loss", "lira"]])
def test_the_sum_over_tasks_is_the_work_of_the_cells(attacks, tiny_folder, tmp_path):
    asked = shadow_study(
        tiny_folder("llama"),
        methods=["full", "lora"],
        attacks=attacks,
        observations=[{"shadows": {"models": 4}}] if "lira" in attacks else [],
        data={"train": 16, "members": 10, "nonmembers": 12, "validation": 6, "known": 0, "max_tokens": 40},
        training={"epochs": 2, "batch_size": 8},
    )
    store = Store.open(tmp_path)
    planned = plan(parse_study(asked), store)
    tasks = tasks_of(planned, store)
    seconds = task_seconds(tasks, store, 1.0)
    assert seconds is not None
    per_token = {key: value / sum(remaining_work_by_cell(planned, store)) for key, value in seconds.items()}
    sizes = {t.planned.cell.base for t in tasks}
    assert len(sizes) == 1
    from byheart.lm.base_models import parameter_count

    assert sum(per_token.values()) == pytest.approx(2 * parameter_count(sizes.pop()))

    found = schedule(tasks, store, Machine(workers=2), 1e9)
    assert found.tasks == len(tasks)
    assert found.longest_hours <= found.hours < found.device_hours
