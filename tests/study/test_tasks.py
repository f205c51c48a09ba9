"""Tasks: the parts of cells, run by key in any process, twice without harm; and the queue of tasks that executors share."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import byheart
from byheart.core.errors import StoreError
from byheart.store.rows import study_rows
from byheart.store.store import Store
from byheart.study import run_study, train_and_observe
from byheart.study.executors import _task_futures
from byheart.study.executors._task_futures import run_by_futures
from byheart.study.plan import plan
from byheart.study.run_task import run_task
from byheart.study.status import status_table, task_states
from byheart.study.study_file import parse_study
from byheart.study.tasks import CellOutcome, tasks_of
from testing.stores import shadow_study


@pytest.fixture(scope="module")
def asked(tiny_folder):
    return shadow_study(
        tiny_folder("llama"),
        attacks=["loss", "lira"],
        observations=[{"shadows": {"models": 4}}],
        data={"train": 16, "members": 10, "nonmembers": 12, "validation": 6, "known": 0, "max_tokens": 40},
        training={"epochs": 1, "batch_size": 8, "learning_rate": 0.01},
    )


def rows_of(store):
    return [r for r in study_rows(store) if r.metric != "seconds"]


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("whole"))
    assert not byheart.run(asked, store=store).failed
    return rows_of(store)


class Stopped(BaseException):
    pass


@pytest.fixture
def planned_store(asked, tmp_path, monkeypatch):
    """A store with the plan of the study and no model."""
    store, workers = Store.open(tmp_path / "store"), []

    def stop(tasks, *_):
        workers.append(tasks)
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr("byheart.study.run_cells.run_local_tasks", stop)
        with pytest.raises(Stopped):
            byheart.run(asked, store=store)
    return store, workers[0]


def test_a_cell_has_a_task_for_the_base_model_and_for_each_shadow_model(asked, planned_store, whole):
    store, tasks = planned_store
    assert [t.kind for t in tasks] == ["base", *["shadow"] * 4, "cell"]
    base, *shadows, cell = tasks
    assert all(s.requires == (base.key,) for s in shadows)
    assert cell.requires == tuple(t.key for t in tasks[:-1])
    assert len({t.key for t in tasks}) == len({t.claim for t in tasks}) == 6
    two = plan(parse_study({**asked, "seeds": [0, 0, 1], "attacks": ["loss"]}), store)
    assert [t.kind for t in tasks_of(two, store)] == ["cell", "cell"]


def test_tasks_run_by_key_in_any_order_and_do_their_work_once(planned_store, whole, monkeypatch):
    store, tasks = planned_store
    base, *shadows, cell = tasks
    for task in (base, *reversed(shadows), cell):
        assert not task.is_done(store)
        assert run_task(store, task.key).error == ""
        assert task.is_done(store)
    for module in (train_and_observe, byheart.study.run_cell):
        monkeypatch.setattr(module, "observe", lambda *_, **__: pytest.fail("a model was loaded"))
    again = [run_task(Store(store.root), t.key, study="shadowed") for t in tasks]
    assert not any(o.error for o in again)
    results = byheart.run(run_study.parse_study(study_content(store)), store=store)
    assert [r for r in results.rows if r.metric != "seconds"] == whole


def study_content(store):
    from byheart.study.run_task import stored_study

    return stored_study(store, "shadowed").content


def test_a_claimed_task_is_left_to_its_worker(planned_store):
    store, tasks = planned_store
    with store.claim(tasks[0].claim, wait=False) as is_claimed:
        assert is_claimed
        assert run_task(store, tasks[0].key, wait=False) is None
        running = [s for s in task_states(store) if s.state == "running"]
        assert [s.task for s in running] == [tasks[0].label]
        assert "process" in status_table(task_states(store)).rows[1][3]
    assert {s.state for s in task_states(store)} == {"waiting"}


def test_a_host_with_other_model_files_or_data_is_refused(planned_store):
    store, _ = planned_store
    with pytest.raises(StoreError, match=r"is no task of shadowed on host .* same model files, data and byheart"):
        run_task(store, "0" * 16, study="shadowed")


def test_a_study_that_the_store_does_not_have_is_refused(planned_store):
    store, tasks = planned_store
    with pytest.raises(StoreError, match=r"has no tasks of a study 'óther'\. Start it: byheart run"):
        run_task(store, tasks[0].key, study="óther")
    store.drop_note("studies", "shadowed")
    with pytest.raises(StoreError, match=r"has no study 'shadowed'\. Start it: byheart run"):
        run_task(store, tasks[0].key)


@pytest.mark.parametrize("content", [{}, {"tasks": 3}, {"tasks": [{"key": "k"}]}])
def test_tasks_that_cannot_be_read_are_named(tmp_path, content):
    store = Store.open(tmp_path)
    store.note("tasks", "grid", content)
    with pytest.raises(StoreError, match=r"tasks/grid\.json is damaged"):
        task_states(store)


def test_a_failed_task_is_in_the_status_until_it_succeeds(asked, whole, tmp_path, monkeypatch):
    store = Store.open(tmp_path)

    def broken(*_):
        raise ValueError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr("byheart.study.tasks.run_shadow", broken)
        (failed,) = byheart.run(asked, store=store).failed
    assert failed.error == "ValueError: no luck"
    assert "shadow" not in failed.cell
    states = {s.task: s for s in task_states(store)}
    shadows = [s for name, s in states.items() if "shadow" in name]
    assert [(s.state, s.error) for s in shadows] == [("failed", "ValueError: no luck"), *[("waiting", "")] * 3]
    assert "in broken" in shadows[0].trace  # and the cell, which cannot succeed, trains no other shadow model
    assert states[failed.cell].state == "failed"
    assert states[failed.cell].error == f"requires {shadows[0].task}: ValueError: no luck"
    assert not byheart.run(asked, store=store).failed
    assert {s.state for s in task_states(store)} == {"done"}
    assert rows_of(store) == whole


def test_a_task_that_requires_a_failed_task_is_failed(tmp_path):
    store = Store.open(tmp_path)
    shadow = {"task": "shadow 1", "key": "a", "claim": "a", "results": [["evidence", "a"]], "requires": []}
    cell = {"task": "lora", "key": "b", "claim": "b", "results": [["rows", "b"]], "requires": ["a"]}
    store.note("tasks", "study", {"tasks": [shadow, cell]})
    assert [s.state for s in task_states(store)] == ["waiting", "waiting"]
    store.note(
        "failures", "a", {"task": "shadow 1", "error": "no data", "trace": "", "host": "h", "log": "", "attempt": ""}
    )
    states = task_states(store)
    assert [s.state for s in states] == ["failed", "failed"]
    assert states[1].error == "requires shadow 1: no data"


@pytest.mark.slow
def test_two_workers_train_the_shadow_models_of_one_cell(asked, whole, tmp_path):
    store = Store.open(tmp_path)
    assert not byheart.run({**asked, "machine": {"workers": 2}}, store=store).failed
    assert rows_of(store) == whole
    assert len(store.keys("training")) == 5


def task(key, *requires):
    return SimpleNamespace(key=key, label=f"task {key}", requires=requires)


def test_tasks_start_after_those_they_require_and_come_back_when_claimed(monkeypatch):
    monkeypatch.setattr(_task_futures, "RETRY_SECONDS", 0.02)
    started, ended, attempts = [], [], itertools.count()

    def work(one):
        started.append(one.key)
        if one.key == "b" and next(attempts) < 3:
            return None
        if one.key == "e":
            raise OSError("died")
        return CellOutcome(one.label, "", ())

    tasks = [task("a"), task("b"), task("c", "a", "b"), task("e"), task("f", "e"), task("g", "f")]
    with ThreadPoolExecutor(2) as pool:
        outcomes = run_by_futures(
            tasks, lambda t: pool.submit(work, t), lambda t, _: ended.append(t.key), lambda e: f"lost: {e}"
        )
    assert sorted(started) == ["a", "b", "b", "b", "b", "c", "e"]
    assert started.index("c") > max(i for i, k in enumerate(started) if k == "b")
    assert sorted(ended) == ["a", "b", "c", "e", "f", "g"]
    assert {k: o.error for k, o in outcomes.items()} == {
        **dict.fromkeys("abc", ""),
        **dict.fromkeys("efg", "lost: died"),
    }
    assert outcomes["g"].cell == "task g"
