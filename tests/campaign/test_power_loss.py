"""What a store and an atomic write call complete is on the disk; the campaign sees a flush that is missing."""

import os
import random

import numpy as np
import pytest

from byheart.core import atomic_file
from byheart.core.atomic_file import atomic_write, rename_folder
from byheart.store import store as store_module
from byheart.store.result_files import write_arrays
from byheart.store.store import Store
from campaign.kills.runs import Run
from campaign.power_loss.commands import losses
from campaign.power_loss.recorder import record
from campaign.power_loss.replay import write_lost


def fill(place):
    """Make results and notes, remove one result, and write a file and a folder beside the store."""
    store = Store.open(place / "store")
    for n in range(2):
        store.get_or_make("scores", f"k{n}", {"n": n}, lambda folder: write_arrays(folder, {"a": np.arange(9.0)}))
        store.note("studies", "s", {"done": n})
    store.drop("scores", "k0")
    with atomic_write(place / "page.html") as draft:
        draft.write_text("page" * 99)
    (place / ".draft").mkdir()
    (place / ".draft" / "rows.json").write_text("[1]")
    rename_folder(place / ".draft", place / "audit")


FILLED = Run("study", fill, lambda place: {})


@pytest.mark.forks
def test_what_is_called_complete_is_complete_after_any_loss_of_power(tmp_path):
    tried = []
    assert not losses(FILLED, FILLED, tried)(tmp_path, random.Random(0))
    assert tried[0] > 100


@pytest.mark.parametrize(("module", "name"), [(store_module, "sync"), (atomic_file, "sync_tree")])
@pytest.mark.forks
def test_a_flush_that_is_missing_is_seen(tmp_path, monkeypatch, module, name):
    monkeypatch.setattr(module, name, lambda path: None)
    problem = losses(FILLED, FILLED, [])(tmp_path, random.Random(0))
    assert ("is damaged" in problem) or ("incomplete" in problem) or ("not on the disk" in problem), problem


@pytest.mark.forks
def test_a_file_that_is_renamed_before_it_is_flushed_is_seen(tmp_path):
    def hasty(place):
        (place / ".draft").write_text("page")
        (place / ".draft").rename(place / "page.html")

    assert "incomplete: ['page.html']" in losses(Run("study", hasty, dict), FILLED, [])(tmp_path, random.Random(0))


@pytest.mark.parametrize(("kind", "expected"), [("names", {"a": b"12", "b": b""}), ("flushed", {"a": b"12"})])
@pytest.mark.forks
def test_only_flushed_data_and_names_are_on_the_disk(tmp_path, kind, expected):
    place = tmp_path / "place"
    place.mkdir()

    def run():
        with (place / "a").open("wb", buffering=0) as file:
            file.write(b"12")
            os.fsync(file.fileno())
            folder = os.open(place, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            file.write(b"34")
        (place / "b").write_bytes(b"")

    end = record(run, place)[-1]
    write_lost(end, tmp_path / "lost", kind, random.Random(0))
    assert {path.name: path.read_bytes() for path in (tmp_path / "lost").iterdir()} == expected
