"""A study that is interrupted, killed, or run by several processes ends with the rows of an uninterrupted run."""

import itertools
import json
import platform
import shutil
import signal
import uuid

import pytest
from safetensors.torch import load_file

import byheart
from byheart.store.rows import study_rows
from byheart.store.store import Store
from testing import processes
from testing.stores import lora_study
from testing.typed import MAIN

ENDED = 2**22 + 1
"""A process id that no system assigns."""


def content(folder):
    """Use GPT-2, which has dropout: a resumed training must draw the same random numbers."""
    return lora_study(folder, methods=["full", "prefix"], training={"epochs": 3, "batch_size": 4}, attacks=["loss"])


def rows_of(store):
    """Return a store's rows without seconds: these must be equal after any run."""
    return [r for r in study_rows(Store.open(store)) if r.metric != "seconds"]


@pytest.fixture(scope="module")
def requested(tiny_folder):
    return content(tiny_folder("gpt2"))


@pytest.fixture(scope="module")
def complete(requested, tmp_path_factory):
    """Rows of the uninterrupted study."""
    store = Store.open(tmp_path_factory.mktemp("whole"))
    results = byheart.run(requested, store=store)
    assert study_rows(store) == list(results.rows)
    return rows_of(store.root)


class Killed(BaseException):
    """Simulated kill; not an `Exception`, so that no handler catches it."""


def killed_at(monkeypatch, nth, moment):
    """Kill a run at its nth new result: while the result is written, or just after it was stored.

    Return the list of stages of the new results; the last stage is where the run is killed.
    """
    plain, seen = Store.get_or_make, []

    def get_or_make(store, stage, key, recipe, make):
        if store.has(stage, key):
            return plain(store, stage, key, recipe, make)

        def half(folder):
            make(folder)
            seen.append(stage)  # after the results that it was computed from
            if len(seen) == nth and moment == "written":
                # A killed process leaves truncated files in its temporary folder.
                left = store.root / ".making" / f"{platform.node()}-{ENDED}-{uuid.uuid4().hex}"
                shutil.copytree(folder, left)
                for file in left.rglob("*.*"):
                    file.write_bytes(file.read_bytes()[:20])
                raise Killed

        made = plain(store, stage, key, recipe, half)
        if len(seen) == nth:
            raise Killed
        return made

    monkeypatch.setattr(Store, "get_or_make", get_or_make)
    return seen


STAGES = {"splits", "gates", "tokens", "evidence", "states", "training", "scores", "rows"}


@pytest.mark.parametrize(
    ("moment", "nths"), [pytest.param("written", (1, 2), marks=pytest.mark.slow), ("kept", (1, 1))]
)
def test_a_run_killed_at_any_write_ends_with_the_same_rows(requested, complete, tmp_path, monkeypatch, moment, nths):
    """Kill the run once at every result: while it is written (after the previous one was stored), or after it was stored."""
    kills = []
    for nth in itertools.chain(nths[:1], itertools.repeat(nths[1])):
        with monkeypatch.context() as patched:
            seen = killed_at(patched, nth, moment)
            try:
                results = byheart.run(requested, store=tmp_path)
            except Killed:
                kills.append(seen[-1])
                continue
        break
    assert not results.failed, results.failed
    assert set(kills) == STAGES
    assert rows_of(tmp_path) == complete
    assert not list((tmp_path / ".making").iterdir())
    # Also if the run was killed after it stored a training and before it removed the training's states.
    assert not list((tmp_path / "states").glob("*/*"))


def test_an_epoch_whose_observations_were_interrupted_is_not_trained_again(requested, complete, tmp_path, monkeypatch):
    """Kill the run at every observation of a trained epoch; the last epoch too has a state until its observations are stored."""
    plain, trained, kills = Store.get_or_make, [], []

    def get_or_make(store, stage, key, recipe, make):
        is_observed = stage == "evidence" and recipe["inputs"].get("model", {}).get("epoch", 0) > 0
        if is_observed and not store.has(stage, key) and key not in kills:
            kills.append(key)
            (state,) = (store.root / "states").glob("*/state.safetensors")
            has_moments = any(name.startswith("exp_avg") for name in load_file(state))
            assert has_moments == (recipe["inputs"]["model"]["epoch"] < 3), "no training follows the last epoch"
            raise Killed
        return plain(store, stage, key, recipe, make)

    monkeypatch.setattr(Store, "get_or_make", get_or_make)
    while True:
        try:
            results = byheart.run(
                requested, store=tmp_path, tell=lambda event: trained.append((event.cell, event.text))
            )
        except Killed:
            continue
        break
    assert len(kills) == 2 * 3 * 2, "two methods, three epochs, audited and validation texts"
    assert not results.failed
    assert rows_of(tmp_path) == complete
    epochs = [(label, text.partition(",")[0]) for label, text in trained if " trained," in text]
    assert len(epochs) == len(set(epochs)) == 2 * 3


def test_notes_that_a_killed_run_did_not_write_are_written_by_the_next(requested, complete, tmp_path, monkeypatch):
    plain = Store.note
    for nth in (1, 2, 3):
        seen = []

        def note(store, stage, name, content, nth=nth, seen=seen):
            seen.append(name)
            if len(seen) == nth:
                raise Killed
            plain(store, stage, name, content)

        with monkeypatch.context() as patched:
            patched.setattr(Store, "note", note)
            with pytest.raises(Killed):
                byheart.run(requested, store=tmp_path)
    assert not byheart.run(requested, store=tmp_path).failed
    assert rows_of(tmp_path) == complete


@pytest.fixture
def typed(requested, tmp_path):
    """Return a function that starts `byheart run` in another process, and returns it when it has printed a text."""
    (tmp_path / "tiny.yaml").write_text(json.dumps(requested))

    def start(store, text):
        words = ["run", tmp_path / "tiny.yaml", "--store", store, "--json"]
        running = processes.started(MAIN, words, tmp_path)
        processes.wait_for(running, tmp_path, text)
        return running

    return start


def test_a_killed_process_ends_with_the_same_rows(typed, requested, complete, tmp_path):
    running = typed(tmp_path / "store", "epoch 2 trained")
    running.kill()
    running.join()
    assert running.exitcode == -signal.SIGKILL
    assert not byheart.run(requested, store=tmp_path / "store").failed
    assert rows_of(tmp_path / "store") == complete


def test_two_runs_at_once_share_the_work(typed, requested, complete, tmp_path):
    other = typed(tmp_path / "both", "epoch 1 trained")
    messages = []
    results = byheart.run(requested, store=tmp_path / "both", tell=lambda event: messages.append(event.text))
    processes.ended(other, tmp_path, within=120)
    assert not results.failed
    assert any("another run" in text for text in messages)
    assert rows_of(tmp_path / "both") == complete


def test_two_workers_give_the_rows_of_one(requested, complete, tmp_path):
    assert not byheart.run({**requested, "machine": {"workers": 2}}, store=tmp_path / "two").failed
    assert rows_of(tmp_path / "two") == complete
