"""Manifests of canaries with fields of other types are refused in one line, also if their hash was made again."""

import json
import math

import pytest

from byheart.core.errors import DataError
from byheart.data.canary_manifest import read_planted_set, sha256
from byheart.data.plant_settings import PlantSettings
from byheart.data.planting import plant_records


@pytest.fixture
def path(tmp_path):
    records = [{"text": f"The {n} queens wrote {n * n} letters."} for n in range(20)]
    settings = PlantSettings(count=8, repetitions=(1,), kinds=("digits",), references=4)
    return plant_records(records, settings, seed=1, field_names=None).planted.save(tmp_path / "canaries")


def change(path, **fields):
    manifest = {**json.loads(path.read_text()), **fields}
    manifest["sha256"] = sha256({n: v for n, v in manifest.items() if n != "sha256"})
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "fields",
    [
        {"epsilon": 0.5},
        {"epsilon": {"guesses": "a", "repeated": 1, "delta": 1e-5}},
        {"bits": None},
        {"planted": {"records": "many", "sha256": "a"}},
        {"data": []},
        {"at": 3},
        {"field_names": {"text": 1}},
        {"canaries": [{"id": 1}]},
        {"canaries": 3},
        {"references_sha256": None},
    ],
)
def test_fields_of_other_types_are_refused(path, fields):
    read_planted_set(path)
    change(path, **fields)
    with pytest.raises(DataError, match=f"{path}: this folder is not as byheart canaries plant wrote it"):
        read_planted_set(path)


def test_a_number_of_references_beyond_all_memory_is_refused(path):
    manifest = json.loads(path.read_text())
    change(path, settings={**manifest["settings"], "references": 10**12})
    with pytest.raises(DataError, match="canary references: they differ"):
        read_planted_set(path)


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_a_number_of_references_that_is_no_number_is_refused(path, number):
    manifest = json.loads(path.read_text())
    change(path, settings={**manifest["settings"], "references": number})
    with pytest.raises(DataError, match=f"{path}: this folder is not as byheart canaries plant wrote it"):
        read_planted_set(path)


@pytest.mark.parametrize("line", ["[1, 2]", "3", "[" * 5000])
def test_records_that_are_no_objects_are_refused(path, line):
    file = path.with_name("references.jsonl")
    file.write_text(line + "\n" + "".join(file.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match="is not a JSON object"):
        read_planted_set(path)


def test_canaries_that_are_lists_are_refused_with_their_hash_made_again(path):
    manifest = json.loads(path.read_text())
    for included, name in ((True, "included"), (False, "held_out")):
        file = path.with_name(f"{name}.jsonl")
        lines = [[["text", "a"]] for entry in manifest["canaries"] if entry["included"] == included]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for entry in manifest["canaries"]:
        entry["sha256"] = sha256({"text": "a"})
    change(path, canaries=manifest["canaries"])
    with pytest.raises(DataError, match="is not a JSON object"):
        read_planted_set(path)


def test_a_manifest_that_is_nested_too_deeply_is_refused(path):
    path.write_text("[" * 5000)
    with pytest.raises(DataError, match="is not JSON"):
        read_planted_set(path)
