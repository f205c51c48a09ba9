"""Odd data and damaged folders: canaries get ids that fit, files hold the records exactly, and every damage is one message."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Value

import byheart
from byheart.auditing.canaries.plant import plant_source
from byheart.auditing.canaries.texts import as_planted_set
from byheart.core.errors import DataError, ModelError, SettingError
from byheart.data.canary_manifest import read_planted_set, sha256
from byheart.data.plant_settings import PlantSettings
from byheart.data.planting import plant_records
from byheart.data.sources import read_source

TEXTS = [f"The mill number{i} turns in town{i} near the river{i % 9}." for i in range(40)]
SMALL = {"count": 16, "repetitions": [1], "kinds": ["digits", "names"], "references": 5, "seed": 3}
SETTINGS = PlantSettings(count=16, repetitions=(1,), kinds=("digits", "names"), references=5)


def planted_file(folder, records, suffix="jsonl"):
    source = folder / "source.jsonl"
    source.write_text("".join(json.dumps(r) + "\n" for r in records))
    return plant_source(str(source), folder / f"planted.{suffix}", SETTINGS, seed=3)


@pytest.mark.parametrize("highest", [7, 2**62, 2**63 - 1, 2**64 - 1])
def test_number_ids_stay_different_and_fit_where_the_data_have_64_bit_hashes(highest):
    records = [{"text": t, "id": highest - i if i < 7 else 100 + i} for i, t in enumerate(TEXTS)]
    new = [r["id"] for r in plant_records(records, SETTINGS, seed=3).records]
    assert len(set(new)) == len(new) > len(TEXTS)
    assert max(new) < 2**63 or max(new) == highest


@pytest.mark.parametrize("number", [int, float, np.int64], ids=str)
@pytest.mark.parametrize("field", ["id", "group"])
def test_ids_and_groups_that_are_numbers_differ_from_those_of_the_data(field, number):
    records = [{"text": t, field: number(i)} for i, t in enumerate(TEXTS)]
    new = [r[field] for r in plant_records(records, SETTINGS, seed=3).records]
    assert len(set(new)) == len(new) > len(TEXTS)
    assert {type(value) for value in new} == {number}


def test_ids_of_canaries_differ_from_ids_of_data_that_contain_canaries():
    records = [{"text": t, "id": f"canary-{i}", "group": f"canary2-{i}"} for i, t in enumerate(TEXTS)]
    planting = plant_records(records, SETTINGS, seed=3)
    new = [r["id"] for r in planting.records]
    assert len(set(new)) == len(new) > len(TEXTS)
    assert planting.planted.canaries[0].id == "canary3-0"


def test_fields_and_writers_of_other_types_are_refused_in_one_line():
    with pytest.raises(SettingError, match=r"plant\(fields='text'\): is not a mapping"):
        byheart.plant(TEXTS, fields="text", **SMALL)
    with pytest.raises(SettingError, match=r"'txt': 'body' is not a field and its name"):
        byheart.plant(TEXTS, fields={"txt": "body"}, **SMALL)
    with pytest.raises(SettingError, match="'text': 3 is not a field"):
        byheart.plant(TEXTS, fields={"text": 3}, **SMALL)
    with pytest.raises(ModelError, match="object is not a transformers model"):
        byheart.plant(TEXTS, model=object(), tokenizer=object(), **SMALL)
    module = torch.nn.Linear(1, 1)
    module.config = object()
    with pytest.raises(ModelError, match="object is not a tokenizer"):
        byheart.plant(TEXTS, model=module, tokenizer=object(), **SMALL)
    with pytest.raises(ModelError, match="tokenizer is missing"):
        byheart.plant(TEXTS, model=module, **SMALL)


def test_a_true_id_is_not_a_number():
    records = [{"text": t, "id": True} for t in TEXTS]
    assert all(r["id"] is True for r in plant_records(records, SETTINGS, seed=3).records)


@pytest.mark.parametrize(
    ("suffix", "records"),
    [
        ("parquet", [{"text": t, **({"note": "a"} if i > 30 else {})} for i, t in enumerate(TEXTS)]),
        ("parquet", [{"text": t, "id": 2**64 + i} for i, t in enumerate(TEXTS)]),
        ("txt", [{"text": f"  {t}"} for t in TEXTS]),
    ],
)
def test_a_format_that_would_change_the_records_is_refused_and_leaves_nothing(tmp_path, suffix, records):
    with pytest.raises(DataError, match=r"Write a \.jsonl file"):
        planted_file(tmp_path, records, suffix)
    assert [p.name for p in tmp_path.iterdir()] == ["source.jsonl"]
    planted, manifest = planted_file(tmp_path, records)
    planted.check_planted([row.fields for row in read_source(str(tmp_path / "planted.jsonl"))])
    assert read_planted_set(manifest).canaries == planted.canaries


def test_an_interruption_while_writing_leaves_neither_data_nor_manifest(tmp_path, monkeypatch):
    def interrupted(draft, output, planted):
        assert draft.exists()
        assert not output.exists(), "no reader sees half a file"
        raise KeyboardInterrupt

    monkeypatch.setattr("byheart.auditing.canaries.plant._check_written", interrupted)
    with pytest.raises(KeyboardInterrupt):
        planted_file(tmp_path, [{"text": t} for t in TEXTS])
    assert [p.name for p in tmp_path.iterdir()] == ["source.jsonl"]


def test_named_fields_without_one_that_has_a_loss_are_refused():
    with pytest.raises(DataError, match="no field with a loss"):
        plant_records([{"a": t} for t in TEXTS], SETTINGS, seed=3, field_names={"prompt": "a"})


def test_plant_takes_plain_values_and_refuses_others():
    planted = byheart.plant(TEXTS, **SMALL)
    assert len(planted.dataset) > len(TEXTS)
    for wrong in ({"seed": -1}, {"seed": 1.5}, {"seed": "a"}, {"repetitions": 4}, {"kinds": "digits"}):
        with pytest.raises(SettingError, match=f"canaries.{next(iter(wrong))}"):
            byheart.plant(TEXTS, **SMALL | wrong)
    with pytest.raises(DataError, match="0 records"):
        byheart.plant([], **SMALL)
    small_ids = Dataset.from_dict(
        {"text": TEXTS, "id": [100 + i % 28 for i in range(40)]},
        features=Features({"text": Value("string"), "id": Value("int8")}),
    )
    with pytest.raises(DataError, match="Cast ids"):
        byheart.plant(small_ids, **SMALL)


def test_a_set_is_saved_by_a_path_as_text_and_named_by_its_own_type(tmp_path):
    planted = byheart.plant(TEXTS, **SMALL)
    path = planted.canaries.save(str(tmp_path / "canaries"))
    assert as_planted_set(str(path)).canaries == as_planted_set(planted.canaries).canaries
    with pytest.raises(DataError, match=r"Pass planted\.canaries"):
        as_planted_set(planted)


def sealed(manifest):
    return json.dumps({**manifest, "sha256": sha256({n: v for n, v in manifest.items() if n != "sha256"})})


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("manifest.json", lambda text: '{"canaries": 3, "sha256": "x", "format": 1}'),
        ("manifest.json", lambda text: '{"canaries": [{"id": 1}], "sha256": "x", "format": 1}'),
        ("manifest.json", lambda text: sealed({n: v for n, v in json.loads(text).items() if n != "settings"})),
        ("references.jsonl", lambda text: text + "[1, 2]\n"),
        ("references.jsonl", lambda text: text.replace('"kind"', '"sort"', 1)),
        ("references.jsonl", lambda text: text.replace('"kind": "digits"', '"kind": "names"', 1)),
        ("references.jsonl", lambda text: "".join(sorted(text.splitlines(keepends=True), reverse=True))),
        ("included.jsonl", lambda text: text.replace('{"text"', '["text"', 1)),
        ("included.jsonl", lambda text: "3\n" * text.count("\n")),
    ],
)
def test_a_damaged_folder_is_refused_with_a_message_that_names_the_file(tmp_path, name, damage):
    path = byheart.plant(TEXTS, **SMALL).canaries.save(tmp_path / "canaries")
    file = path.with_name(name)
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError, match=r"Restore .*\.$") as raised:
        read_planted_set(path)
    assert str(tmp_path) in str(raised.value)
