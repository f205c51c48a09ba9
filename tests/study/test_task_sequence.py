"""Workers that share a store: each task runs once, no worker looks at every task, an old listing loses nothing."""

import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.store import listed_results
from byheart.store.listed_results import LOOKS_BEFORE_LISTING, ListedResults
from byheart.store.store import Store
from byheart.study.executors import _task_sequence
from byheart.study.executors._task_sequence import run_in_sequence
from byheart.study.task_share import Share
from byheart.study.tasks import ATTEMPT_VARIABLE, FAILURES, CellOutcome, Task, run_claimed


class EmptyTask(Task):
    """A task whose result is an empty folder. `planned` is its name."""

    key = property(lambda self: self.planned)
    label = property(lambda self: f"task {self.planned}")
    claim = property(lambda self: self.planned)
    results = property(lambda self: (("rows", self.planned),))


def tasks_named(names, kind="base"):
    return [EmptyTask(kind, str(name)) for name in names]


def make(store, task):
    store.get_or_make("rows", task.key, {}, lambda _: None)
    return CellOutcome(task.label, "", ())


def store_quickly(store, tasks):
    """Store results as another worker does, without its flushes."""
    for task in tasks:
        (store.root / "rows" / task.key).mkdir(parents=True)
        (store.root / "rows" / task.key / "recipe.json").write_text("{}")


def run_alone(tasks, store, share, run, claimed=lambda _: None):
    return run_in_sequence(tasks, store, share, run, claimed, lambda *_: None)


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


@pytest.fixture
def looks(monkeypatch):
    """Counts of looks at single results, and of listings."""
    counts = Counter()
    has, scandir = Store.has, listed_results.os.scandir

    def counted(name, function):
        def call(*words):
            counts[name] += 1
            return function(*words)

        return call

    monkeypatch.setattr(Store, "has", counted("looks", has))
    monkeypatch.setattr(listed_results, "os", SimpleNamespace(scandir=counted("listings", scandir)))
    return counts


def test_many_questions_are_answered_by_one_listing(store, looks):
    tasks = tasks_named(range(400))
    store_quickly(store, tasks[:300])
    listed = ListedResults(store)
    assert [t.is_done(listed) for t in tasks] == [True] * 300 + [False] * 100
    assert looks == {"looks": LOOKS_BEFORE_LISTING, "listings": 1}
    store_quickly(store, tasks[300:])
    assert not tasks[399].is_done(listed)
    listed.forget()
    assert all(t.is_done(listed) for t in tasks)


def test_a_stage_without_results_is_listed_as_empty(store):
    listed = ListedResults(store)
    assert not any(listed.has("rows", str(n)) for n in range(2 * LOOKS_BEFORE_LISTING))


def test_a_worker_does_not_look_at_every_task(store, looks):
    tasks = tasks_named(range(2000))
    store_quickly(store, tasks)
    outcomes = run_alone(tasks, store, Share(3, 100), lambda t: run_claimed(t, store, lambda: None, wait=False))
    assert len(outcomes) == 2000
    assert looks == {"looks": LOOKS_BEFORE_LISTING + 20, "listings": 1}


def test_an_old_listing_costs_looks_and_runs_nothing_again(store, looks):
    """Another worker ends 1,600 tasks after the listing that this worker reads."""
    tasks, ran = tasks_named(range(2010)), []
    store_quickly(store, tasks[5:300])

    def run(task):
        ran.append(task.key)
        if task.key == "300":
            store_quickly(store, tasks[301:1900])
        store_quickly(store, [task])
        return CellOutcome(task.label, "", ())

    in_order = SimpleNamespace(own=lambda t: t[:5], own_first=list)
    outcomes = run_alone(tasks, store, in_order, run)
    assert outcomes.keys() == {t.key for t in tasks}
    assert ran == [*map(str, range(5)), "300", *map(str, range(1900, 2010))]
    assert looks["looks"] < LOOKS_BEFORE_LISTING * 3 + 130
    assert 2 <= looks["listings"] <= 4


def test_workers_run_each_task_once_and_know_all_outcomes(store, monkeypatch):
    monkeypatch.setattr(_task_sequence, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(listed_results, "LOOKS_BEFORE_LISTING", 3)
    first = tasks_named(range(24))
    tasks = [*first, *(EmptyTask("cell", f"c{i}", (str(i), str(23 - i))) for i in range(6))]
    ran, ended = [], []

    def work(number):
        def run(task):
            def once():
                ran.append(task.key)
                time.sleep(0.01)
                return make(store, task)

            return run_claimed(task, store, once, wait=False) if not store.has("rows", task.key) else make(store, task)

        ended.append(run_alone(tasks, store, Share(number, 5), run))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(ran) == sorted(t.key for t in tasks)
    assert len(ended) == 5
    assert all(e.keys() == {t.key for t in tasks} for e in ended)
    assert all(ran.index(t.key) > max(map(ran.index, t.requires)) for t in tasks[24:])


def test_the_rows_of_another_workers_cell_have_their_key_and_are_not_read(store):
    tasks = tasks_named(["a", "b"], kind="cell")
    store_quickly(store, tasks)
    ran = []

    def run(task):
        ran.append(task.key)
        return CellOutcome(task.label, task.key, ())

    outcomes = run_alone(tasks, store, Share(1, 2), run)
    assert ran == ["b"]
    assert {k: (o.key, o.error) for k, o in outcomes.items()} == {"a": ("a", ""), "b": ("b", "")}


def test_a_worker_with_nothing_to_do_looks_at_ten_claims_a_second(store, monkeypatch):
    pauses, claims = [], Counter()
    tasks = tasks_named(range(40))

    def sleep(seconds):
        pauses.append(seconds)
        store_quickly(store, tasks[(len(pauses) - 1) * 35 : len(pauses) * 35])

    monkeypatch.setattr(_task_sequence.time, "sleep", sleep)
    run_alone(
        tasks,
        store,
        Share(0, 2),
        lambda t: CellOutcome(t.label, "", ()) if store.has("rows", t.key) else None,
        lambda t: claims.update([t.key]),
    )
    assert pauses == [2.0, 1.0]
    assert claims["0"] == 1
    assert claims["39"] == 3


def test_a_failure_keeps_the_log_of_the_job_that_saw_it(store, monkeypatch):
    (task,), ran = tasks_named(["a"]), []
    monkeypatch.setenv(ATTEMPT_VARIABLE, "first")

    def fails():
        ran.append(task.key)
        return CellOutcome(task.label, "", (), "no data")

    for log in ("job 1", "job 2"):
        monkeypatch.setenv("BYHEART_LOG", log)
        assert run_claimed(task, store, fails, wait=False).error == "no data"
    assert ran == ["a"]
    assert store.find_note(FAILURES, "a")["log"] == "job 1"
    monkeypatch.setenv(ATTEMPT_VARIABLE, "second")
    assert not run_claimed(task, store, lambda: make(store, task), wait=False).error
    assert store.find_note(FAILURES, "a") is None


@given(st.integers(0, 30), st.integers(1, 40))
def test_shares_are_parts_of_all_tasks(count, workers):
    tasks = list(range(count))
    shares = [Share(n, workers) for n in range(workers)]
    assert [t for s in shares for t in s.own(tasks)] == tasks
    assert {len(s.own(tasks)) for s in shares} <= {count // workers, -(-count // workers)}
    for share in shares:
        ordered = share.own_first(tasks)
        assert sorted(ordered) == tasks
        assert ordered[: len(share.own(tasks))] == share.own(tasks)
    assert Share().own_first(tasks) == Share().own(tasks) == tasks


def test_workers_go_on_with_different_parts():
    assert len({Share(n, 50).own_first(range(100))[2] for n in range(50)}) > 25
