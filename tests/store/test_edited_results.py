"""Results that were edited by hand, or whose bytes changed, are refused by name; nothing is computed from them."""

import json

import numpy as np
import pytest

from byheart.core.errors import StoreError
from byheart.store.result_files import read_arrays, write_arrays
from byheart.store.rows import read_rows, score_reader, study_notes, study_rows, validation_pass_keys
from byheart.store.run_info import run_details
from byheart.store.store import Store
from byheart.study.status import task_states
from byheart.study.tasks import FAILURES
from campaign.inputs.stores import forget_checksums


@pytest.fixture
def store(lora_store, tmp_path):
    """A store without checksums, which would refuse every edit at the first look."""
    copy = lora_store.copied(tmp_path / "copy")
    forget_checksums([*copy.root.rglob("*.json")])
    return copy


def edit(path, change):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


def first(store, stage):
    return store.folder(stage, store.keys(stage)[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [{**rows[0], "value": "high"}],
        lambda rows: [{**rows[0], "epoch": [1]}],
        lambda rows: [{**rows[0], "metric": None}],
        lambda rows: rows[0],
        lambda rows: [None],
    ],
)
def test_rows_of_other_types_are_refused(store, change):
    folder = first(store, "rows")
    edit(folder / "rows.json", change)
    with pytest.raises(StoreError, match=f"{folder.name} is damaged"):
        read_rows(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: {**note, "rows": 3},
        lambda note: {**note, "rows": [["a"]]},
        lambda note: {**note, "gates": [{"key": 1}]},
        lambda note: {**note, "tables": ["methods"]},
        lambda note: [note],
        lambda note: {n: v for n, v in note.items() if n != "rows"},
    ],
)
def test_notes_of_other_types_are_refused(store, change):
    edit(store.root / "studies" / "tiny.json", change)
    for read in (study_rows, lambda s: run_details(s, None)):
        with pytest.raises(StoreError, match="is damaged"):
            read(store)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: {"tasks": [{**note["tasks"][0], "results": [[1, 2]]}]},
        lambda note: {"tasks": [{**note["tasks"][0], "claim": 3}]},
        lambda note: {"tasks": 3},
        lambda note: 3,
    ],
)
def test_notes_of_tasks_with_other_types_are_refused(store, change):
    edit(store.root / "tasks" / "tiny.json", change)
    with pytest.raises(StoreError, match="is damaged"):
        task_states(store)


@pytest.mark.parametrize("failure", [{"error": "x"}, {"error": 1, "host": "a", "trace": "", "log": ""}, [1]])
def test_notes_of_failures_with_other_types_are_refused(store, failure):
    task = json.loads((store.root / "tasks" / "tiny.json").read_text())["tasks"][0]
    stage, key = task["results"][0]
    store.drop(stage, key)
    (store.root / FAILURES).mkdir(exist_ok=True)
    (store.root / FAILURES / f"{task['key']}.json").write_text(json.dumps(failure))
    with pytest.raises(StoreError, match="is damaged"):
        task_states(store)


def test_a_note_of_an_older_version_is_completed(store):
    edit(store.root / "studies" / "tiny.json", lambda note: {"rows": note["rows"]})
    assert study_notes(store)["tiny"]["failed"] == {}
    assert run_details(store, None)["study tiny"]


@pytest.mark.parametrize(
    "change", [lambda recipe: {"made": recipe["made"]}, lambda recipe: 3, lambda recipe: {**recipe, "made": []}]
)
def test_recipes_without_their_parts_are_refused(store, change):
    folder = first(store, "rows")
    edit(folder / "recipe.json", change)
    for read in (run_details, validation_pass_keys):
        with pytest.raises(StoreError, match=f"{folder.name} is damaged"):
            read(store, None)


def test_recipes_with_other_content_are_refused(store):
    folder = first(store, "rows")
    edit(
        folder / "recipe.json",
        lambda r: {"recipe": {**r["recipe"], "evidence": 3}, "made": {**r["made"], "versions": 1}},
    )
    for read in (run_details, validation_pass_keys):
        with pytest.raises(StoreError, match=f"{folder.name} is damaged"):
            read(store, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {n: a for n, a in arrays.items() if n != "ids"},
        lambda arrays: {**arrays, "scores": arrays["scores"][:-1]},
        lambda arrays: {**arrays, "members": arrays["members"].astype(float)},
        lambda arrays: {**arrays, "scores": arrays["scores"].astype(str)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(store, change):
    folder = first(store, "scores")
    write_arrays(folder, change(read_arrays(folder)))
    with pytest.raises(StoreError, match=f"{folder.name} is damaged"):
        score_reader(store)(folder.name)


def test_any_changed_byte_of_arrays_is_read_or_refused(tmp_path):
    """Changed names and data of a compressed or plain archive raise errors of six kinds."""
    write_arrays(tmp_path, {"a": np.arange(4.0)})
    content = (tmp_path / "arrays.npz").read_bytes()
    refused = 0
    for at in range(len(content)):
        (tmp_path / "arrays.npz").write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        try:
            read_arrays(tmp_path)
        except StoreError:
            refused += 1
    assert refused > len(content) / 3


def test_a_store_that_another_program_wrote_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"format": ' + "[" * 5000)
    with pytest.raises(StoreError, match="was not written by byheart"):
        Store.open(tmp_path)
