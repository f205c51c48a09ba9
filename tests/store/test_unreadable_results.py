"""A result that this process cannot read now is not called damaged: nothing tells the user to remove it."""

import errno
import io
import os
import shutil
import zipfile

import numpy as np
import pytest

import byheart
from byheart.core.errors import StoreError
from byheart.store import result_files
from byheart.store.result_files import read_arrays, read_json, write_arrays, write_json
from byheart.store.rows import study_rows


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_too_few_handles_and_permissions_are_no_damage(tmp_path, monkeypatch, number):
    def refuse(path, *_arguments, **_settings):
        raise OSError(number, os.strerror(number), str(path))

    write_json(tmp_path / "note.json", {"a": 1})
    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(StoreError, match=rf"cannot be read: .*({os.strerror(number)}|open files)") as raised:
        read_json(tmp_path / "note.json")
    assert "Remove" not in str(raised.value)


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    write_arrays(tmp_path, {"a": np.arange(3.0)})

    def fail(*_arguments, **_settings):
        raise MemoryError

    monkeypatch.setattr(result_files.np, "load", fail)
    with pytest.raises(MemoryError):
        read_arrays(tmp_path)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_an_array_that_states_more_than_it_has_is_damaged(tmp_path, version):
    """Its header would make NumPy ask for the memory."""
    header = io.BytesIO()
    write = np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0
    write(header, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + b"\0" * 80)
    with pytest.raises(StoreError, match=r"is damaged \(its arrays are larger than the file\)"):
        read_arrays(tmp_path)


def test_an_error_of_the_disk_is_damage(tmp_path, monkeypatch):
    write_json(tmp_path / "note.json", {"a": 1})

    def fail(path, *_arguments, **_settings):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(io, "open", fail)
    with pytest.raises(StoreError, match=r"is damaged .*Input/output error.*Remove it"):
        read_json(tmp_path / "note.json")


def test_scores_that_a_person_removed_are_made_again(lora_store, tmp_path):
    """`byheart verify` names damaged scores and says to remove them; the rows that name them are complete."""
    store = lora_store.copied(tmp_path / "copy")
    keys, rows = store.keys("scores"), study_rows(store)
    shutil.rmtree(store.folder("scores", keys[0]))
    assert not byheart.run(lora_store.content, store=store).failed
    assert store.keys("scores") == keys
    assert [r for r in study_rows(store) if r.metric != "seconds"] == [r for r in rows if r.metric != "seconds"]
