"""Folders of audits and plans with fields of other types are refused in one line, also if they were sealed again."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from byheart.auditing.audit_differences import compare_folders
from byheart.auditing.preregistration import read_preregistration
from byheart.auditing.saved import read_audit
from byheart.auditing.verify import verify_folder
from byheart.core.errors import StoreError
from byheart.store.seal import MANIFEST, file_sha256, sealed_json
from testing.audited import MEMBERS, NONMEMBERS


@pytest.fixture(scope="module")
def original(tiny_folder, tmp_path_factory):
    """The folder of an audit of a tiny model in memory."""
    import byheart
    from byheart.lm.load import load

    folder, model = tmp_path_factory.mktemp("audited") / "audit", load(str(tiny_folder("llama")))
    byheart.audit(model.module, model.tokenizer, MEMBERS, NONMEMBERS, attacks=["loss"], max_tokens=16).save(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "audit")


def seal(folder, **fields):
    manifest = {**json.loads((folder / MANIFEST).read_text()), **fields}
    if "files" not in fields:
        manifest["files"] = {name: file_sha256(folder / name) for name in manifest["files"]}
    (folder / MANIFEST).write_text(sealed_json(manifest))


def made(folder):
    return json.loads((folder / MANIFEST).read_text())["made"]


@pytest.mark.parametrize(
    "change",
    [
        lambda made: {**made, "settings": 3},
        lambda made: {**made, "settings": {**made["settings"], "fpr": "low"}},
        lambda made: {n: v for n, v in made.items() if n != "settings"},
        lambda made: {**made, "data": [1]},
        lambda made: {**made, "inputs": {"member": "a"}},
        lambda made: [made],
        lambda made: None,
    ],
)
def test_manifests_of_other_types_are_refused(folder, original, change):
    seal(folder, made=change(made(folder)))
    for read in (lambda: verify_folder(folder, {}), lambda: compare_folders(folder, original)):
        with pytest.raises(StoreError, match=f"{folder}: its {MANIFEST} is not that of an audit"):
            read()


@pytest.mark.parametrize("files", [{"rows.json": 3}, ["rows.json"], None])
def test_manifests_without_hashes_of_files_are_refused(folder, files):
    seal(folder, files=files)
    with pytest.raises(StoreError, match=f"{folder}: its {MANIFEST}"):
        verify_folder(folder, {})


@pytest.mark.parametrize("change", [lambda r: {**r, "value": "1"}, lambda r: {**r, "epoch": {}}, lambda r: 3])
def test_rows_of_other_types_are_refused(folder, change):
    rows = json.loads((folder / "rows.json").read_text())
    (folder / "rows.json").write_text(json.dumps([change(row) for row in rows]))
    seal(folder)
    with pytest.raises(StoreError, match="cannot be read"):
        read_audit(folder)


@pytest.mark.parametrize(
    ("column", "value"), [("loss", "high"), ("loss", None), ("member", 1.5), ("id", 3), ("group", None)]
)
def test_scores_of_other_types_are_refused(folder, column, value):
    columns = pq.read_table(folder / "scores.parquet").to_pydict()
    columns[column] = [value] * len(columns[column])
    pq.write_table(pa.table(columns), folder / "scores.parquet")
    seal(folder)
    with pytest.raises(StoreError, match="cannot be read"):
        read_audit(folder)


PLAN = {
    "attacks": {},
    "settings": {},
    "pass_below": [],
    "fail_above": [],
    "texts": {},
    "data": {},
    "canaries": {},
    "groups": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"plan": {**PLAN, "attacks": 3}},
        {"plan": {**PLAN, "pass_below": [1]}},
        {"plan": []},
        {"at": 5},
        {"plan": {**PLAN, "data": None}},
    ],
)
def test_plans_of_other_types_are_refused(tmp_path, change):
    content = {"kind": "byheart preregistration", "at": "2026-01-01", "plan": PLAN}
    (tmp_path / "plan.json").write_text(sealed_json(content))
    read_preregistration(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text(sealed_json({**content, **change}))
    with pytest.raises(StoreError, match="is not as byheart wrote it"):
        read_preregistration(tmp_path / "plan.json")
