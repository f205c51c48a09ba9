"""byheart check: the split check of files and of studies."""

import json

import numpy as np
import pytest

from testing.command_line import run_command
from testing.splits import fair


def run_check(monkeypatch, capsys, *words):
    return run_command(monkeypatch, capsys, "check", *words)


def write_rows(path, texts, **fields):
    rows = [{"text": t} | {n: v[i] for n, v in fields.items()} for i, t in enumerate(texts)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_two_files_are_checked(tmp_path, monkeypatch, capsys):
    split = fair(np.random.default_rng(1), 100)
    members, others = (
        write_rows(tmp_path / "m.jsonl", split.train.scored),
        write_rows(tmp_path / "n.jsonl", split.nonmembers.scored),
    )
    code, out, _ = run_check(monkeypatch, capsys, "--members", members, "--nonmembers", others)
    assert code == 0
    assert out.startswith(f"sound: {members} against {others} (100 members, 100 non-members)\n")
    copy = write_rows(tmp_path / "copy.jsonl", split.train.scored)
    code, out, _ = run_check(monkeypatch, capsys, "--members", members, "--nonmembers", copy, "--json")
    report = json.loads(out)["datasets"][0]
    assert (code, report["verdict"]) == (1, "broken")
    assert report["findings"][0]["value"] == 100
    assert report["reasons"]


def test_a_group_field_keeps_texts_together(tmp_path, monkeypatch, capsys):
    split = fair(np.random.default_rng(1), 40)
    members = write_rows(tmp_path / "m.jsonl", split.train.scored, user=[f"u{i // 2}" for i in range(40)])
    others = write_rows(tmp_path / "n.jsonl", split.nonmembers.scored, user=[f"u{19 + i // 2}" for i in range(40)])
    code, out, _ = run_check(monkeypatch, capsys, "--members", members, "--nonmembers", others, "--group", "user")
    assert code == 1
    assert "2 of 40 non-members belong to a group" in out


def test_a_study_is_checked_by_data_set_and_without_a_model(tmp_path, monkeypatch, capsys):
    study = tmp_path / "s.yaml"
    study.write_text(
        "models: no/such-model\ndatasets: [records: {count: [300, 400]}]\n"
        "data: {train: 80, members: 70, nonmembers: 70, validation: 10}\n"
        "metrics: [auc, tpr_at_fpr: {fpr: 0.05}]\n",
        encoding="utf-8",
    )
    words = (study, "--store", tmp_path / "store", "--set", "methods=[full, head]", "--json")
    code, out, _ = run_check(monkeypatch, capsys, *words)
    report = json.loads(out)["datasets"]
    assert [d["name"].split(" · ")[:2] for d in report] == [["records", "count=300"], ["records", "count=400"]]
    assert code == 0
    assert all(d["members"] == 70 for d in report)
    assert any("5 % FPR" in f["name"] for f in report[0]["findings"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "requires either a study or two files"),
        (("--members", "m.jsonl"), "requires either a study or two files"),
        (("s.yaml", "--members", "m.jsonl", "--nonmembers", "n.jsonl"), "requires either a study or two files"),
        (("--members", "missing.jsonl", "--nonmembers", "few.txt"), "missing.jsonl: cannot be read"),
        (("--members", "empty.txt", "--nonmembers", "few.txt"), "empty.txt: contains no records"),
        (("--members", "few.txt", "--nonmembers", "others.txt"), "2 members of 2 groups"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "few.txt").write_text("one text\nanother text\n")
    (tmp_path / "others.txt").write_text("a third text\nand a fourth\n")
    code, out, err = run_check(monkeypatch, capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
