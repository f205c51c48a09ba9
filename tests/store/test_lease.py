"""One process at a time holds a lease: among hosts, without file locks, with clocks that differ, after a process is killed."""

import fcntl
import multiprocessing
import os
import random
import signal
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from byheart.store import lease as leases
from byheart.store.lease import holder, lease
from byheart.store.store import Store

FORK = multiprocessing.get_context("fork")
TASKS = 200


def as_host(name):
    """Make this process one of another host, whose file system ignores locks and whose clock is wrong."""
    shift = random.Random(name).uniform(-1e6, 1e6)
    clock = time.time
    leases.machine_identity = lambda: name
    leases.time.time = lambda: clock() + shift
    fcntl.flock = fcntl.lockf = lambda *_: None


def _work(root, host, seed):
    """Run all tasks as a worker does: skip a task that another worker holds, and come back to it."""
    as_host(host)
    store, executions = Store(root), root / "executions"
    pending = list(range(TASKS))
    random.Random(seed).shuffle(pending)
    while pending:
        for task in list(pending):
            key = f"task{task}"
            with store.claim(key, wait=False) as is_claimed:
                if not is_claimed:
                    continue
                if not store.has("rows", key):
                    (executions / f"{task}-{uuid.uuid4().hex}").touch()
                    time.sleep(0.001)
                    store.get_or_make("rows", key, {}, lambda _: None)
            pending.remove(task)


def test_four_hosts_without_file_locks_run_200_tasks_once(tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.store.store.result_provenance", lambda _: {})  # it asks git
    store = Store.open(tmp_path)
    (tmp_path / "executions").mkdir()
    workers = [FORK.Process(target=_work, args=(tmp_path, f"host{i}", i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [w.exitcode for w in workers] == [0] * 4
    executions = Counter(p.name.partition("-")[0] for p in (tmp_path / "executions").iterdir())
    assert len(executions) == len(store.keys("rows")) == TASKS
    assert set(executions.values()) == {1}


def _hold(folder, host, stored):
    as_host(host)
    with lease(folder, wait=True):
        stored.set()
        time.sleep(600)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(leases, "EXPIRY_SECONDS", 1.0)


@pytest.fixture
def claimed_elsewhere(tmp_path, fast):
    """A claim, and the process that holds it under the name of another host."""
    stored = FORK.Event()
    child = FORK.Process(target=_hold, args=(tmp_path / "key", "elsewhere", stored))
    child.start()
    assert stored.wait(30)
    yield tmp_path / "key", child
    child.kill()
    child.join()


def is_free(folder):
    with lease(folder, wait=False) as is_claimed:
        return is_claimed


def test_a_lease_of_another_host_lasts_while_its_heartbeat_does(claimed_elsewhere):
    folder, child = claimed_elsewhere
    for _ in range(15):
        assert not is_free(folder)
        time.sleep(0.1)
    assert holder(folder).process == child.pid
    assert holder(folder).seconds > 1
    child.kill()
    child.join()
    assert not is_free(folder)  # this host cannot see that process
    started = time.monotonic()
    with lease(folder, wait=True) as is_claimed:
        assert is_claimed
    assert 0.5 < time.monotonic() - started < 20
    assert holder(folder) is None


def test_a_suspended_holder_loses_its_lease_and_does_not_end_the_next_ones(claimed_elsewhere):
    folder, child = claimed_elsewhere
    os.kill(child.pid, signal.SIGSTOP)
    with lease(folder, wait=True):
        os.kill(child.pid, signal.SIGCONT)
        time.sleep(0.4)  # its next heartbeat finds the claim replaced
        child.terminate()
        child.join()
        assert holder(folder).process == os.getpid()
        assert not is_free(folder)


def test_a_killed_holder_of_this_host_is_replaced_at_once(tmp_path):
    stored = FORK.Event()
    child = FORK.Process(target=_hold, args=(tmp_path / "key", leases.machine_identity(), stored))
    child.start()
    assert stored.wait(30)
    assert not is_free(tmp_path / "key")
    child.kill()
    child.join()
    assert is_free(tmp_path / "key")


def _try(folder, host, start, winners):
    as_host(host)
    start.wait()
    with lease(folder, wait=False) as is_claimed:
        if is_claimed:
            (winners / host).touch()
            time.sleep(0.3)


def test_one_of_many_replaces_a_claim_that_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "EXPIRY_SECONDS", 30)
    for number in range(6):
        folder, winners = tmp_path / f"key{number}", tmp_path / f"winners{number}"
        winners.mkdir()
        (folder / "7").mkdir(parents=True)
        (folder / "7" / "heartbeat.lock").touch()
        os.utime(folder / "7" / "heartbeat.lock", (1, 1))
        start = FORK.Event()
        children = [FORK.Process(target=_try, args=(folder, f"host{i}", start, winners)) for i in range(6)]
        for child in children:
            child.start()
        start.set()
        for child in children:
            child.join()
        assert len(list(winners.iterdir())) == 1
        assert [p.name for p in folder.iterdir()] == ["8"]


def test_a_process_with_an_old_list_of_claims_gets_none(tmp_path, monkeypatch):
    """It sees claim 3 released; meanwhile claim 4 was made, released and removed, and claim 5 is current."""
    folder = tmp_path / "key"
    (folder / "3").mkdir(parents=True)
    (folder / "3" / "released.lock").touch()
    plain, calls = leases._current, []

    def current(place):
        calls.append(place)
        if len(calls) > 1:
            return plain(place)
        seen = plain(place)
        (folder / "5").mkdir()
        return seen

    monkeypatch.setattr(leases, "_current", current)
    assert not is_free(folder)
    assert {p.name for p in folder.iterdir()} == {"3", "5"}


def test_a_result_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A machine that loses power keeps either the whole result or none."""
    events, sync, rename = [], os.fsync, Path.rename

    def recorded(file):
        events.append(Path(f"/proc/self/fd/{file}").readlink().name)
        sync(file)

    def renamed(path, target):
        events.append(f"rename to {target.name}")
        return rename(path, target)

    store = Store.open(tmp_path)
    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(Path, "rename", renamed)

    def make(folder):
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text("1")

    store.get_or_make("training", "key", {}, make)
    place = events.index("rename to key")
    assert {"weights", "inner", "recipe.json"} <= set(events[:place])
    assert events[place + 1 :] == ["training"]


def test_an_interrupted_claim_is_free_though_its_process_goes_on(tmp_path, monkeypatch):
    """A notebook continues after Ctrl-C."""
    with monkeypatch.context() as patched:
        patched.setattr(leases, "process_start", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            is_free(tmp_path / "key")
    assert holder(tmp_path / "key") is None
    assert is_free(tmp_path / "key")


def test_a_claim_is_released_on_a_full_disk(tmp_path, monkeypatch):
    with lease(tmp_path / "key", wait=False) as is_claimed:
        assert is_claimed
        monkeypatch.setattr(Path, "touch", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    monkeypatch.undo()
    assert is_free(tmp_path / "key")


def test_a_process_that_was_suspended_while_it_claimed_gets_no_claim(tmp_path, monkeypatch):
    def suspended(_):
        (tmp_path / "key" / "2").mkdir()
        for file in (tmp_path / "key" / "1").iterdir():
            file.unlink()
        (tmp_path / "key" / "1").rmdir()
        return "1"

    monkeypatch.setattr(leases, "process_start", suspended)
    assert not is_free(tmp_path / "key")
    assert [p.name for p in (tmp_path / "key").iterdir()] == ["2"]


@pytest.mark.parametrize(
    "written", ["[]", "null", '"é"', "{", '{"machine": "HERE"}', '{"machine": "HERE", "process": "x"}']
)
def test_a_claim_whose_owner_cannot_be_read_lasts_as_long_as_its_heartbeat(tmp_path, fast, written):
    claim = tmp_path / "key" / "1"
    claim.mkdir(parents=True)
    (claim / "owner.json").write_text(written.replace("HERE", leases.machine_identity()))
    (claim / "heartbeat.lock").touch()
    assert holder(tmp_path / "key").host == "?"
    with lease(tmp_path / "key", wait=True) as is_claimed:
        assert is_claimed


def test_a_heartbeat_of_the_future_ends_for_a_reader_that_waits(tmp_path, fast):
    """The clock of the file system was set back after the other host's process had ended."""
    claim = tmp_path / "key" / "1"
    claim.mkdir(parents=True)
    (claim / "heartbeat.lock").touch()
    future = time.time() + 5 * 3600
    os.utime(claim / "heartbeat.lock", (future, future))
    started = time.monotonic()
    while not is_free(tmp_path / "key"):
        assert time.monotonic() - started < 20
        time.sleep(0.1)
    assert time.monotonic() - started > 0.5


def test_a_heartbeat_that_goes_on_in_the_future_keeps_its_claim(claimed_elsewhere, monkeypatch):
    folder, _ = claimed_elsewhere
    real = leases._file_system_time
    monkeypatch.setattr(leases, "_file_system_time", lambda place: real(place) - 5 * 3600)
    for _ in range(15):
        assert not is_free(folder)
        time.sleep(0.1)


def test_a_reader_who_cannot_write_the_store_sees_who_holds_a_claim(claimed_elsewhere, monkeypatch):
    folder, child = claimed_elsewhere
    monkeypatch.setattr(Path, "touch", lambda _: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert holder(folder).process == child.pid
