"""A result exists completely or not at all; two writers do not interfere; a changed default is refused."""

import errno
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from byheart.core.errors import StoreError
from byheart.store.result_files import read_arrays, write_arrays
from byheart.store.store import FORMAT, Store


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


def test_a_result_is_made_once_and_read_back(store):
    made = []

    def make(folder):
        made.append(folder)
        write_arrays(folder, {"a": np.arange(3)})

    first = store.get_or_make("scores", "k", {"x": 1}, make)
    again = store.get_or_make("scores", "k", {"x": 1}, make)
    assert first == again
    assert len(made) == 1
    np.testing.assert_array_equal(read_arrays(first)["a"], np.arange(3))
    recipe = store.recipe("scores", "k")
    assert recipe["recipe"] == {"x": 1}
    assert {"revision", "dirty", "versions", "machine", "seconds", "at"} <= set(recipe["made"])


def test_a_failed_computation_leaves_no_result(store):
    def make(folder):
        (folder / "half").write_text("half")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        store.get_or_make("scores", "k", {}, make)
    assert not store.has("scores", "k")
    assert list((store.root / ".making").iterdir()) == []


def test_a_changed_default_is_refused_with_the_fix(store):
    store.get_or_make("scores", "k", {"attack": {"settings": {"k": 0.2}}}, lambda _: None)
    with pytest.raises(StoreError, match=r"attack\.settings\.k: stored 0\.2, requested 0\.3.* REVISION, or remove"):
        store.get_or_make("scores", "k", {"attack": {"settings": {"k": 0.3}}}, lambda _: None)


def test_a_newer_store_is_refused(store):
    (store.root / "store.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(StoreError, match=f"format {FORMAT + 1}.* up to {FORMAT}"):
        Store.open(store.root)


def test_a_folder_of_another_program_is_refused(tmp_path):
    (tmp_path / "store.json").write_text("[1, 2")
    with pytest.raises(StoreError, match=r"store\.json"):
        Store.open(tmp_path)


def test_a_full_disk_is_reported_in_one_line(store):
    def make(_folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="the disk is full"):
        store.get_or_make("scores", "k", {}, make)
    assert not store.has("scores", "k")


def _die_while_making(root):
    def make(folder):
        (folder / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    Store.open(root).get_or_make("scores", "k", {}, make)


def test_a_killed_writer_leaves_no_result(store):
    child = multiprocessing.get_context("fork").Process(target=_die_while_making, args=(store.root,))
    child.start()
    child.join()
    assert not store.has("scores", "k")
    assert len(list((store.root / ".making").iterdir())) == 1
    Store.open(store.root)  # sweeps
    assert list((store.root / ".making").iterdir()) == []


def _write_slowly(root, text):
    def make(folder):
        (folder / "who").write_text(text)
        time.sleep(0.3)

    Store.open(root).get_or_make("scores", "k", {}, make)


def test_the_first_of_two_writers_wins_and_both_succeed(store):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_write_slowly, args=(store.root, str(i))) for i in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [c.exitcode for c in children] == [0, 0, 0]
    assert (store.folder("scores", "k") / "who").read_text() in {"0", "1", "2"}


def _hold(root, key, stored, done):
    with Store(root).claim(key, wait=True):
        stored.set()
        done.wait()


def test_a_claim_is_exclusive_and_ends_with_its_process(store):
    context = multiprocessing.get_context("fork")
    stored, done = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(store.root, "cell", stored, done))
    child.start()
    stored.wait()
    with store.claim("cell", wait=False) as ours:
        assert not ours
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with store.claim("cell", wait=True) as ours:
        assert ours


def test_dropping_a_missing_result_raises_no_error(store):
    store.drop("states", "nothing")
    store.get_or_make("states", "k", {}, lambda _: None)
    store.drop("states", "k")
    assert not store.has("states", "k")


def test_a_claim_in_a_folder_that_cannot_be_written_is_refused(store, monkeypatch):
    mkdir = type(store.root).mkdir

    def refuse(folder, *words, **settings):
        if folder.name == "k":
            raise PermissionError(errno.EACCES, "Permission denied")
        mkdir(folder, *words, **settings)

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with (
        pytest.raises(StoreError, match=r"cannot be written \(Permission denied\)\. Choose another folder"),
        store.claim("k", wait=False),
    ):
        pass


def test_a_damaged_note_is_named_and_one_that_is_removed_meanwhile_is_none(store, monkeypatch):
    store.note("tasks", "a", {"x": 1})
    store.note("tasks", "b", {"x": 2})
    assert store.find_note("tasks", "c") is None
    (store.root / "tasks" / "b.json").write_text("{")
    with pytest.raises(StoreError, match=r"tasks/b\.json is damaged"):
        store.notes("tasks")
    read = store.root.__class__.read_text

    def removed_by_another(path, **settings):
        path.unlink(missing_ok=True)
        return read(path, **settings)

    monkeypatch.setattr("pathlib.Path.read_text", removed_by_another)
    assert store.find_note("tasks", "a") is None
    assert store.notes("tasks") == {}
