"""A changed byte of a store is found when it is read and by `byheart verify`; names that lead out of a store are refused."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from byheart.auditing.verify import verify_folder
from byheart.core.errors import SettingError, StoreError
from byheart.store.archive import pack
from byheart.store.check_store import check_store
from byheart.store.result_files import read_arrays, read_json, write_arrays
from byheart.store.store import Store
from campaign.inputs.stores import forget_checksums


@pytest.fixture
def finished(lora_store, tmp_path):
    return lora_store.copied(tmp_path / "copy")


def flip(path, at=0):
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def first(store, stage):
    return store.folder(stage, store.keys(stage)[0])


def test_any_changed_byte_of_a_result_or_note_is_found(tmp_path):
    store = Store.open(tmp_path)

    def make(folder):
        write_arrays(folder, {"a": np.arange(4.0)})
        (folder / "rows.json").write_text('[1, "two"]')

    store.get_or_make("scores", "k", {"a": 1}, make)
    store.note("tasks", "t", {"x": [1, "two"]})
    for path in (*(tmp_path / "scores" / "k").iterdir(), tmp_path / "tasks" / "t.json"):
        content = path.read_bytes()
        for at in range(0, len(content), 7):
            # Without the name of the checksum the content is read unchecked, and it is the right content.
            if chr(content[at]).isspace() or 0 <= at - content.find(b"crc32") < len("crc32"):
                continue
            flip(path, at)
            assert len(check_store(tmp_path)[1]) == 1, (path.name, at)
            with pytest.raises(StoreError, match="is damaged"):
                read_arrays(path.parent) if path.suffix == ".npz" else read_json(path)
            path.write_bytes(content)
    assert check_store(tmp_path) == (2, [])


def test_a_changed_byte_of_the_file_that_makes_a_folder_a_store_is_found(tmp_path):
    """Another format would advise to update byheart, and a whole store must not be removed for this file."""
    Store.open(tmp_path).note("tasks", "t", {"x": 1})
    file = tmp_path / "store.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 3'))
    (message,) = check_store(tmp_path)[1]
    assert f"store: {file} is damaged (its checksum differs). Remove it" in message
    with pytest.raises(StoreError, match=r"store\.json is damaged"):
        Store.open(tmp_path)
    file.unlink()
    assert Store.open(tmp_path).notes("tasks") == {"t": {"x": 1}}
    assert check_store(tmp_path) == (1, [])


def test_a_changed_byte_of_weights_in_a_folder_is_found(tmp_path):
    store = Store.open(tmp_path)

    def make(folder):
        (folder / "model").mkdir()
        save_file({"w": np.arange(100.0)}, folder / "model" / "weights.safetensors")

    folder = store.get_or_make("training", "k", {}, make)
    flip(folder / "model" / "weights.safetensors", -9)
    (message,) = check_store(tmp_path)[1]
    assert f"store: {folder} is damaged (model/weights.safetensors has another checksum" in message
    (folder / "model" / "weights.safetensors").unlink()
    assert "is damaged" in check_store(tmp_path)[1][0]


def test_a_finished_study_is_verified_and_one_flipped_byte_is_named(finished, typed):
    code, out, _ = typed("verify", finished.root)
    assert code == 0
    assert out.startswith(f"verified: {finished.root} (checksums of ")
    assert "seal" not in out
    folder = first(finished, "training")
    flip(max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size), -1)
    code, out, _ = typed("verify", finished.root)
    assert code == 1
    assert out.startswith(f"differs: {finished.root}")
    assert f"store: {folder} is damaged" in out
    assert out.count("is damaged") == 1


def test_a_store_has_no_seal_and_no_inputs(finished):
    with pytest.raises(SettingError, match="is a store, which has no seal"):
        verify_folder(finished.root, {}, seal="0" * 64)
    with pytest.raises(SettingError, match="is a store, which has no seal"):
        verify_folder(finished.root, {"member": "texts.jsonl"})


@pytest.mark.parametrize("name", ["{}/elsewhere", "../../../elsewhere", "a/../../../../elsewhere"])
def test_checksums_of_files_elsewhere_are_not_read(tmp_path, name):
    store = Store.open(tmp_path / "store")
    folder = store.get_or_make("rows", "k", {}, lambda folder: write_arrays(folder, {"a": np.arange(2)}))
    forget_checksums([folder / "recipe.json"])
    content = json.loads((folder / "recipe.json").read_text())
    (tmp_path / "elsewhere").write_text("")  # /dev/zero, for example, would be read for ever
    (folder / "recipe.json").write_text(json.dumps({**content, "checksums": {name.format(tmp_path): "00000000"}}))
    (message,) = check_store(tmp_path / "store")[1]
    assert "names a file outside the result" in message


def test_a_result_that_is_removed_while_a_store_is_read_is_no_difference(tmp_path, monkeypatch):
    store = Store.open(tmp_path)
    folder = store.get_or_make("states", "k", {}, lambda folder: write_arrays(folder, {"a": np.arange(2)}))

    def read_late(path):
        shutil.rmtree(folder, ignore_errors=True)
        return read_json(path)

    monkeypatch.setattr("byheart.store.check_store.read_json", read_late)
    assert check_store(tmp_path)[1] == []


@pytest.mark.parametrize("key", ["../../x", "a/b", "a\\b", "..", ".", "", "/etc"])
def test_a_key_that_leads_out_of_the_store_is_refused(tmp_path, key):
    with pytest.raises(StoreError, match="is no key"):
        Store.open(tmp_path / "store").folder("rows", key)


def test_linked_files_and_results_are_not_packed(finished, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = first(finished, "rows") / "extra.json"
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError, match=r"extra\.json is a link to another place"):
        pack(finished, None, tmp_path / "a.tar.xz")
    link.unlink()
    folder = first(finished, "rows")
    folder.symlink_to(shutil.move(folder, tmp_path / "moved"))
    with pytest.raises(StoreError, match="is a link to another place"):
        pack(finished, None, tmp_path / "a.tar.xz")
    assert not (tmp_path / "a.tar.xz").exists()


def test_a_stage_on_another_disk_is_packed(finished, tmp_path):
    moved = shutil.move(finished.root / "rows", tmp_path / "rows")
    (finished.root / "rows").symlink_to(moved)
    assert pack(finished, None, tmp_path / "a.tar.xz").exists()


def test_compressed_arrays_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "arrays.npz", a=np.zeros(1 << 20))
    with pytest.raises(StoreError, match="its arrays are larger than the file"):
        read_arrays(tmp_path)
