"""Canaries in records of every shape: where the loss is, by fair coins, committed by a manifest that notices any change."""

import json

import numpy as np
import pytest

from byheart.core.errors import DataError, SettingError
from byheart.data.canary_manifest import fair_coins, read_planted_set, records_sha256, sha256
from byheart.data.canary_records import scored_text, with_scored_text
from byheart.data.plant_settings import PlantSettings
from byheart.data.planting import plant_records
from byheart.data.record_writers import write_records
from byheart.data.sources import read_source
from byheart.stats.epsilon_bounds import one_run

WORDS = [
    f"{a} {b} {c}"
    for a in ("red", "old", "tall")
    for b in ("cats", "mills", "towers")
    for c in ("sing", "turn", "fall")
]
TEXTS = [
    f"The {words} near the {other} at noon, number{i} of{i} words{i}."
    for i, (words, other) in enumerate(zip(WORDS, WORDS[::-1], strict=True))
]
CHAT = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Say it."}]
SHAPES = {
    "text": lambda i, t: {"text": t},
    "completion": lambda i, t: {"prompt": f"Q{i}:", "completion": f" {t}"},
    "alpaca": lambda i, t: {"instruction": f"Say {i}", "input": "", "output": t},
    "question": lambda i, t: {"question": f"Q{i}", "answer": t},
    "chat": lambda i, t: {
        "messages": [*CHAT, {"role": "assistant", "content": t}, {"role": "user", "content": "Thanks."}]
    },
    "chat as JSON": lambda i, t: {"messages": json.dumps([*CHAT, {"role": "assistant", "content": t}])},
    "chat in parts": lambda i, t: {
        "messages": [*CHAT, {"role": "assistant", "content": [{"type": "text", "text": t}]}]
    },
    "ShareGPT": lambda i, t: {"conversations": [{"from": "human", "value": "Say"}, {"from": "gpt", "value": t}]},
    "lists of messages": lambda i, t: {"prompt": CHAT, "completion": [{"role": "assistant", "content": t}]},
}
SETTINGS = PlantSettings(count=24, repetitions=(1, 3), references=5)


def shaped(shape):
    return [{"id": f"r{i}", **SHAPES[shape](i, text)} for i, text in enumerate(TEXTS)]


def planted_in(shape="text", settings=SETTINGS, seed=7, **how):
    return plant_records(shaped(shape), settings, seed=seed, **how)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_included_canary_is_in_the_data_as_often_as_planned_and_a_held_out_one_is_not(shape):
    planting = planted_in(shape)
    texts = [scored_text("r", r, {}).strip() for r in planting.records]
    for canary in planting.planted.canaries:
        count = texts.count(scored_text("r", canary.record, {}).strip())
        assert count == (canary.repetitions if canary.included else 0), canary
    assert [r for r in planting.records if not r["id"].startswith("canary")] == shaped(shape)
    assert len({r["id"] for r in planting.records}) == len(planting.records)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_canary_is_where_the_loss_is_and_all_else_stays(shape):
    record = shaped(shape)[3]
    other = with_scored_text("r", record, " A canary.", {})
    assert scored_text("r", other, {}).strip() == "A canary."
    assert other.keys() == record.keys()
    for field in set(record) - {"text", "completion", "output", "answer", "messages", "conversations"}:
        assert other[field] == record[field]


def test_a_completion_that_is_a_list_as_json_is_a_text_beside_a_plain_prompt():
    record = {"prompt": "Which cities?", "completion": '[{"city": "Oslo"}]'}
    assert with_scored_text("r", record, "A canary.", {}) == {**record, "completion": "A canary."}


def test_preference_pairs_and_named_fields():
    pairs = [{"prompt": "p", "chosen": t, "rejected": "no"} for t in TEXTS]
    with pytest.raises(DataError, match="preference pairs"):
        plant_records(pairs, SETTINGS, seed=0)
    records = [{"q": "Q", "a": t, "text": "not this"} for t in TEXTS]
    planting = plant_records(records, SETTINGS, seed=0, field_names={"prompt": "q", "completion": "a"})
    assert all(r["text"] == "not this" for r in planting.records)
    assert len({r["a"] for r in planting.records}) > len(TEXTS)


def test_real_texts_are_rows_of_the_data_and_a_held_out_one_is_removed():
    planting = planted_in(settings=PlantSettings(count=8, repetitions=(1, 2), kinds=("real_texts",)))
    texts = [r["text"] for r in planting.records]
    for canary in planting.planted.canaries:
        assert canary.record["text"] in TEXTS
        assert texts.count(canary.record["text"]) == (canary.repetitions if canary.included else 0)


def test_no_real_text_has_a_near_duplicate_in_the_data():
    copied = [*TEXTS, *(text.replace("noon", "night") for text in TEXTS[::2]), TEXTS[1], TEXTS[3].upper()]
    settings = PlantSettings(count=8, repetitions=(1, 2), kinds=("real_texts",), near_duplicate=0.7)
    planted = plant_records([{"text": t} for t in copied], settings, seed=3).planted
    assert {c.record["text"] for c in planted.canaries} <= set(TEXTS[5::2])
    with pytest.raises(DataError, match="without near duplicates"):
        plant_records([{"text": t} for t in (*TEXTS, *TEXTS)], settings, seed=3)


def test_coins_are_fair_and_depend_on_seed_and_data_only():
    flipped = np.array([fair_coins(seed, "d", 50) for seed in range(400)])
    assert abs(flipped.mean() - 0.5) < 4 * 0.5 / np.sqrt(flipped.size)
    assert np.abs(flipped.mean(0) - 0.5).max() < 0.12
    one, other = planted_in(seed=1).planted, planted_in(seed=2).planted
    assert [c.included for c in one.canaries] != [c.included for c in other.canaries]
    again = planted_in(seed=1)
    assert again.records == planted_in(seed=1).records


def test_the_number_of_guesses_is_fixed_before_training():
    assert planted_in(settings=PlantSettings(count=24, repetitions=(1,), references=5)).planted.manifest["epsilon"] == {
        "repeated": 1,
        "guesses": 12,
        "delta": 1e-5,
    }
    assert (
        planted_in(settings=PlantSettings(count=8, repetitions=(1, 2), references=5)).planted.manifest["epsilon"]
        is None
    )
    assert not one_run(4, 2, 2, delta=1e-5)
    with pytest.raises(DataError, match="guesses"):
        planted_in(settings=PlantSettings(count=24, repetitions=(1, 2), guesses=13))
    with pytest.raises(DataError, match="delta"):
        planted_in(settings=PlantSettings(count=24, repetitions=(1, 2), delta=0.1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 3},
        {"kinds": ("digits", "digits")},
        {"repetitions": (0, 1)},
        {"kinds": ("other",)},
        {"temperature": 0.0},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingError):
        PlantSettings(**{"count": 24, **wrong})


def test_a_saved_set_is_read_again(tmp_path):
    planting = planted_in()
    path = planting.planted.save(tmp_path / "c")
    read = read_planted_set(path)
    assert read.canaries == planting.planted.canaries
    assert read.references == planting.planted.references
    assert read_planted_set(path.parent).manifest == json.loads(path.read_text())
    read.check_planted(planting.records)
    with pytest.raises(DataError, match="other data"):
        read.check_planted(shaped("text"))
    with pytest.raises(DataError, match="already exists"):
        planting.planted.save(tmp_path / "c")


def edited(path, change):
    """Change the manifest, and its own hash with it, as a careful cheater would."""
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["sha256"] = sha256({n: v for n, v in manifest.items() if n != "sha256"})
    path.write_text(json.dumps(manifest))


def flip_two(manifest):
    """One included canary and one held-out canary change places, so that the numbers stay."""
    first = manifest["canaries"][0]["included"]
    other = next(c for c in manifest["canaries"] if c["included"] != first)
    manifest["canaries"][0]["included"], other["included"] = not first, first


def test_every_change_of_a_manifest_or_a_canary_is_refused(tmp_path):
    path = planted_in().planted.save(tmp_path / "a")
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(DataError, match="edited after planting"):
        read_planted_set(path)
    path = planted_in().planted.save(tmp_path / "b")
    edited(path, flip_two)
    with pytest.raises(DataError, match="need not be fair"):
        read_planted_set(path)
    path = planted_in().planted.save(tmp_path / "c")
    edited(path, lambda m: m["settings"].update(coin=0.6))
    with pytest.raises(DataError, match="need not be fair"):
        read_planted_set(path)
    for name, match in (("included", "differs"), ("held_out", "differs"), ("references", "references")):
        path = planted_in().planted.save(tmp_path / name)
        file = path.with_name(f"{name}.jsonl")
        file.write_text(file.read_text().replace("Token: ", "Token; ", 1))
        with pytest.raises(DataError, match=match):
            read_planted_set(path)
    file.unlink()
    with pytest.raises(DataError, match="belongs beside"):
        read_planted_set(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="is not a manifest"):
        read_planted_set(path)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "csv", "tsv", "txt"])
def test_records_are_written_in_every_format_and_read_again(tmp_path, suffix):
    records = [{"text": r["text"]} for r in shaped("text")]
    write_records(tmp_path / f"out.{suffix}", records)
    assert records_sha256(row.fields for row in read_source(str(tmp_path / f"out.{suffix}"))) == records_sha256(records)


def test_formats_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be written in this format"):
        write_records(tmp_path / "a.jsonl.gz", [{"text": "a"}])
    with pytest.raises(DataError, match="one text per line"):
        write_records(tmp_path / "a.txt", [{"text": "a\nb"}])
    with pytest.raises(DataError, match=r"fields other than text \(id, 3\), which \.txt cannot store"):
        write_records(tmp_path / "a.txt", [{"text": "a"}, {"id": "b", "text": "a", 3: "c"}])
    with pytest.raises(DataError, match="CSV"):
        write_records(tmp_path / "a.csv", [{"text": "a", "messages": []}])
    write_records(tmp_path / "a.json", [{"text": "a"}])
    with pytest.raises(DataError, match="already exists"):
        write_records(tmp_path / "a.json", [{"text": "a"}])


class Made:
    """A writer that numbers its texts."""

    name, bits = "made", 40.0

    def __call__(self, kind, hosts, leads, seed):
        return [f"{lead} {kind} {seed} {i}" for i, (_, lead) in enumerate(zip(hosts, leads, strict=True))]


def test_what_a_model_writes_follows_its_record_and_is_refused_without_a_model():
    settings = PlantSettings(count=24, repetitions=(1, 2), kinds=("high_perplexity", "synthetic"), references=9)
    planted = planted_in("completion", settings, writer=Made()).planted
    prompts = {kind: {c.record["prompt"] for c in planted.canaries if c.kind == kind} for kind in settings.kinds}
    assert len(prompts["high_perplexity"]) == 1
    assert len(prompts["synthetic"]) > 5
    assert [kind for kind, _ in planted.references] == ["high_perplexity"] * settings.references
    assert planted.manifest["bits"] == {"high_perplexity": 40.0}
    with pytest.raises(DataError, match="--model"):
        planted_in("completion", settings)
