"""Texts in the formats and files that other libraries write: an audit reads them, or refuses them in one line."""

import gzip
import json

import pandas as pd
import pytest
from datasets import Dataset

from byheart.auditing.from_files import AuditRequest
from byheart.auditing.settings import AuditSettings
from byheart.core.errors import DataError
from byheart.datasets.files import files as study_texts
from testing.audited import MEMBERS, NONMEMBERS, refusal

ROWS = [{"question": f"Question {i}?", "answer": text, "user": float(i // 3)} for i, text in enumerate(MEMBERS)]


def write(path, rows, to=None):
    """Write rows as another library does, by the file's name."""
    name = path.name
    if name.endswith(".parquet"):
        Dataset.from_list(rows).to_parquet(path)
    elif name.endswith((".csv", ".csv.gz", ".tsv")):
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    elif name.endswith((".jsonl", ".jsonl.gz")):
        pd.DataFrame(rows).to_json(path, orient="records", lines=True)
    elif name.endswith(".jsonl.zst"):
        pytest.importorskip("zstandard")
        pd.DataFrame(rows).to_json(path, orient="records", lines=True, compression="zstd")
    elif to == "wrapped":
        path.write_text(json.dumps({"version": 1, "data": rows}))
    else:
        path.write_text(json.dumps(rows))
    return path


def read(path, **settings):
    return AuditRequest(sources={"member": str(path)}, settings=AuditSettings(), **settings).read_texts()["member"]


@pytest.mark.parametrize(
    "name", ["a.parquet", "a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "b.json"]
)
def test_files_of_other_libraries_contain_the_same_texts(tmp_path, name):
    texts = read(
        write(tmp_path / name, ROWS, to="wrapped" if name == "b.json" else None), field_names={"group": "user"}
    )
    assert [(t.prompt, t.scored) for t in texts] == [(r["question"], r["answer"]) for r in ROWS]
    if name not in {"a.csv", "a.csv.gz", "a.tsv"}:  # a CSV file holds strings only
        assert [t.group for t in texts] == [str(i // 3) for i in range(len(ROWS))]


def test_a_group_with_gaps_is_the_same_group(tmp_path):
    rows = [{"text": t, "user": None if i == 0 else i // 3} for i, t in enumerate(MEMBERS)]
    texts = read(write(tmp_path / "gaps.jsonl", rows), field_names={"group": "user"})
    assert "2.0" in (tmp_path / "gaps.jsonl").read_text()
    assert [t.group for t in texts[:5]] == ["", "0", "0", "1", "1"]
    with pytest.raises(DataError, match=r"item 1.*'group' is \[1\]"):
        read(write(tmp_path / "list.json", [{"text": "a b", "group": [1]}]))


@pytest.mark.parametrize(
    "rows",
    [
        [{"instruction": "Say it.", "input": "", "output": t} for t in MEMBERS],
        [{"instruction": "Say it.", "context": "", "response": t, "category": "x"} for t in MEMBERS],
        [{"question": "What?", "answer": t} for t in MEMBERS],
        [{"prompt": "Say it.", "chosen": t, "rejected": "no"} for t in MEMBERS],
        [{"conversations": [{"from": "human", "value": "Say it."}, {"from": "gpt", "value": t}]} for t in MEMBERS],
        [
            {"messages": json.dumps([{"role": "user", "content": "x"}, {"role": "model", "content": t}])}
            for t in MEMBERS
        ],
    ],
    ids=["alpaca", "dolly", "question", "preference", "sharegpt", "string"],
)
def test_studies_and_audits_score_the_same_texts(tmp_path, rows):
    path = write(tmp_path / "texts.jsonl", rows)
    assert list(study_texts(path=str(path)).texts.scored) == MEMBERS
    audited = read(path)
    assert [t.scored or t.chat[-1]["content"] for t in audited] == MEMBERS


def test_named_fields_exclude_other_shapes(tmp_path):
    path = write(tmp_path / "odd.jsonl", [{"text": "other", "q": "Q", "a": t} for t in MEMBERS])
    texts = read(path, field_names={"prompt": "q", "completion": "a"})
    assert [(t.prompt, t.scored) for t in texts] == [("Q", t) for t in MEMBERS]
    with pytest.raises(DataError, match="no field 'b'"):
        read(path, field_names={"text": "b"})


def test_both_sides_of_a_preference_pair_are_one_group(tmp_path):
    rows = [{"prompt": "p", "chosen": c, "rejected": r} for c, r in zip(MEMBERS, NONMEMBERS, strict=True)]
    path = write(tmp_path / "pairs.jsonl", rows)
    assert [t.scored for t in read(path, response="rejected")] == NONMEMBERS
    both = read(path, response="both")
    assert [t.scored for t in both[:2]] == [MEMBERS[0], NONMEMBERS[0]]
    assert both[0].group == both[1].group != both[2].group


def test_the_command_line_names_fields_and_sides(base, files, command, tmp_path):
    for side, texts in (("m", MEMBERS), ("n", NONMEMBERS)):
        write(files / f"fields-{side}.json", [{"q": "Q ", "a": t} for t in texts])
        write(files / f"pairs-{side}.json", [{"prompt": "Q ", "chosen": "no", "rejected": t} for t in texts])
    sides = {"members": "fields-m.json", "nonmembers": "fields-n.json"}
    code, named, complaints = command(
        "--model", base, "--attacks", "loss", "--fields", "prompt=q,completion=a", **sides
    )
    assert code == 0, complaints
    sides = {"members": "pairs-m.json", "nonmembers": "pairs-n.json"}
    code, rejected, complaints = command("--model", base, "--attacks", "loss", "--response", "rejected", **sides)
    assert code == 0, complaints
    assert named.splitlines()[-3:] == rejected.splitlines()[-3:]
    assert "--fields q" in refusal(command("--model", base, "--fields", "q"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("list.jsonl", b'[{"text": "a"}]', "not a JSON object|name an array .json"),
        ("bad.jsonl.gz", b"no gzip", "cannot be decompressed"),
        ("x.json", b'{"text": "a", "other": "b"}', "not a JSON array"),
        ("y.json", b"[5]", "item 1: is not a JSON object"),
        ("z.json", b"{", "is not JSON"),
        ("w.jsonl.gz", gzip.compress("é".encode("latin-1"), mtime=0), "line 1: is not UTF-8"),
        ("v.parquet.gz", b"x", "unsupported file type"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.*({says})"):
        read(tmp_path / name)
