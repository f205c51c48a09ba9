"""Files as other membership tools publish them: MIMIR's and MUSE's strings, TOFU's JSON lines, WikiMIA's column of labels."""

import json

import datasets
import pandas as pd
import pytest
from datasets import Dataset

from byheart.auditing.source_texts import read_source_texts
from byheart.core.errors import DataError
from byheart.data.sources import read_source
from testing.audited import MEMBERS, NONMEMBERS, refusal
from testing.command_line import run_command

LABELED = [{"input": text, "label": 1} for text in MEMBERS] + [{"input": text, "label": 0} for text in NONMEMBERS]
SHUFFLED = [*LABELED[::2], *LABELED[1::2]]


def scored(path, **field_names):
    return [text.scored for text in read_source_texts("member", str(path), field_names)]


def test_strings_are_texts(tmp_path):
    (tmp_path / "mimir.jsonl").write_text("".join(json.dumps(text) + "\n" for text in MEMBERS))
    (tmp_path / "muse.json").write_text(json.dumps(MEMBERS))
    assert scored(tmp_path / "mimir.jsonl") == scored(tmp_path / "muse.json") == MEMBERS


def test_json_lines_are_read_from_a_file_named_json(tmp_path):
    rows = [{"question": f"Question {i}?", "answer": text} for i, text in enumerate(MEMBERS)]
    Dataset.from_list(rows).to_json(tmp_path / "tofu.json")
    assert scored(tmp_path / "tofu.json") == MEMBERS
    (tmp_path / "strings.json").write_text("\n" + "".join(json.dumps(text) + "\n" for text in MEMBERS))
    assert scored(tmp_path / "strings.json") == MEMBERS
    (tmp_path / "cut.json").write_text('{"text": "a"}\n{"text": "b"\n')
    with pytest.raises(DataError, match=r"cut.json line 2, column 13: is not JSON"):
        read_source(str(tmp_path / "cut.json"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("neighbors.jsonl", '["a", "b"]\n', "line 1: is not a JSON object or string"),
        ("neighbors.json", '[["a", "b"]]', "item 1: is not a JSON object or string"),
        ("record.json", '{"text": "a", "tags": ["x", "y"]}', "item 1: is not a JSON object. Write one object"),
        ("pretty.json", '{\n"text": "a"\n}\n{\n"text": "b"\n}\n', "is not JSON"),
        ("number.json", "5\n6\n", "is not JSON"),
    ],
)
def test_lists_within_records_are_not_read_as_texts(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{name}.*{says}"):
        read_source(str(tmp_path / name))


@pytest.mark.parametrize("name", ["w.jsonl", "w.csv", "w.parquet", "w.json"])
def test_a_label_selects_members_and_nonmembers(tmp_path, name):
    path, frame = tmp_path / name, pd.DataFrame(SHUFFLED)
    write = {
        "w.jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "w.csv": lambda: frame.to_csv(path, index=False),
        "w.parquet": lambda: frame.to_parquet(path),
        "w.json": lambda: path.write_text(json.dumps(SHUFFLED)),
    }
    write[name]()
    assert scored(f"{path}:label=1", text="input") == [r["input"] for r in SHUFFLED if r["label"]]
    assert sorted(scored(f"{path}:label=0", text="input")) == sorted(NONMEMBERS)
    first = read_source_texts("nonmember", f"{path}:label=0", {"text": "input"})[0]
    assert first.name == {"w.csv": "line 18", "w.parquet": "row 17", "w.json": "item 17"}.get(name, "line 17")


def test_a_selection_compares_values_as_they_are_written(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(
        json.dumps([{"text": str(i), "v": v} for i, v in enumerate([True, 1, 1.0, "1", None, False, "True", "A b"])])
    )
    selected = {value: scored(f"{path}:v={value}") for value in ("1", "true", "False", "A b")}
    assert selected == {"1": ["1", "2", "3"], "true": ["0", "6"], "False": ["5"], "A b": ["7"]}
    with pytest.raises(
        DataError, match=r"w.json: no record has v=2. Choose one of its values: true, 1, null, false, A b\."
    ):
        read_source(f"{path}:v=2")
    with pytest.raises(
        DataError, match=r"item 1: no field 'label', which selects the records. Available fields: text, v"
    ):
        read_source(f"{path}:label=1")
    path.write_text(json.dumps([{"text": str(i), "v": i} for i in range(12)]))
    with pytest.raises(DataError, match=r"values: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\."):
        read_source(f"{path}:v=12")


def test_a_name_with_the_signs_of_a_selection_is_a_file(tmp_path):
    (tmp_path / "run:lr=1").mkdir()
    (tmp_path / "run:lr=1" / "a.txt").write_text("One.\n")
    assert scored(tmp_path / "run:lr=1") == scored(tmp_path / "run:lr=1" / "a.txt") == ["One."]
    with pytest.raises(DataError, match="cannot be read"):
        read_source(f"{tmp_path}/none.jsonl:label=1")


def test_a_selection_reads_a_split_of_the_hub(monkeypatch):
    """No test may reach for the Hub: a stand-in takes its place."""
    requested = []

    def load(*words, **named):
        requested.append((*words, named["split"]))
        return Dataset.from_list(LABELED)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert scored("hub:o/WikiMIA:WikiMIA_length64:label=0", text="input") == NONMEMBERS
    assert len(scored("hub:o/mimir:arxiv:ngram_13_0.8", text="input")) == len(LABELED)
    assert requested == [("o/WikiMIA", None, "WikiMIA_length64"), ("o/mimir", "arxiv", "ngram_13_0.8")]


def test_an_audit_of_one_file_is_that_of_two(base, files, command, tmp_path):
    (files / "labeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LABELED))
    for name, texts in (("m", MEMBERS), ("n", NONMEMBERS)):
        (files / f"strings-{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    words = ("--model", base, "--attacks", "loss", "--json")
    sides = {"members": "labeled.jsonl:label=1", "nonmembers": "labeled.jsonl:label=0"}
    code, one, complaints = command(*words, "--fields", "text=input", "-o", tmp_path / "one", **sides)
    assert code == 0, complaints
    code, two, complaints = command(*words, members="strings-m.jsonl", nonmembers="strings-n.jsonl")
    assert code == 0, complaints
    assert json.loads(one)["rows"] == json.loads(two)["rows"]
    inputs = json.loads((tmp_path / "one" / "manifest.json").read_text())["made"]["inputs"]
    assert inputs["member"] == inputs["nonmember"]
    assert list(inputs["member"]) == ["labeled.jsonl"]
    said = refusal(command(*words, "--fields", "text=input", "--junit", files / "labeled.jsonl", **sides))
    assert "the audit reads this file" in said


def test_a_check_of_one_file_names_its_field(tmp_path, monkeypatch, capsys):
    path = tmp_path / "labeled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in LABELED))
    sides = ("--members", f"{path}:label=1", "--nonmembers", f"{path}:label=0")
    _, out, complaints = run_command(monkeypatch, capsys, "check", *sides, "--fields", "text=input,tools=none")
    assert f"{path}:label=1 against {path}:label=0 ({len(MEMBERS)} members, {len(NONMEMBERS)} non-members)" in out, (
        complaints
    )
    assert "unknown record shape" in run_command(monkeypatch, capsys, "check", *sides)[2]
    assert "--fields" in run_command(monkeypatch, capsys, "check", tmp_path / "s.yaml", "--fields", "text=input")[2]
