"""Folders that are missing, empty or of another kind, and outputs with another file ending: one line that names the problem."""

import time
from dataclasses import replace

import pytest

from byheart.cli import audit_progress
from byheart.cli.summary import truncation_line
from byheart.store.seal import MANIFEST, sealed_json
from testing.made_up import study


@pytest.fixture
def packed(tmp_path):
    """An unpacked study without results."""
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "store.json").write_text('{"format": 1}')
    (folder / MANIFEST).write_text(sealed_json({"files": {}}))
    return folder


def test_a_path_without_a_manifest_is_described(refused, tmp_path):
    file, empty, missing = tmp_path / "file", tmp_path / "empty", tmp_path / "missing"
    file.write_text("text")
    empty.mkdir()
    problems = {file: "is a file, not a folder", empty: f"has no {MANIFEST}", missing: "the folder does not exist"}
    for path, problem in problems.items():
        assert f"{path}: {problem}. Name a folder of byheart audit -o" in refused("verify", path)
        for command in (("compare", path, path), ("report", path, "--pdf", tmp_path / "a.pdf")):
            assert f"{path}: is not the folder of an audit ({problem})" in refused(*command)


def test_a_packed_study_is_not_an_audit_and_has_no_inputs(refused, packed):
    for command in (("report", packed), ("compare", packed, packed)):
        assert f"is a packed study, not an audit. Its page: byheart report --store {packed}" in refused(*command)
    line = refused("verify", packed, "--input", "member=train.jsonl")
    assert f"--input member: the {MANIFEST} names no inputs. Run byheart verify without --input." in line


def test_an_empty_folder_is_no_store(refused, tmp_path):
    for command in (("status", tmp_path), ("rows", "--store", tmp_path)):
        assert f"store {tmp_path}: the folder is empty. Write results to it: byheart run" in refused(*command)
    missing = tmp_path / "missing"
    assert f"store {missing}: the folder does not exist. Create it: byheart run" in refused("status", missing)


def test_a_store_is_named_as_in_other_commands_too(refused, tmp_path):
    missing = tmp_path / "missing"
    assert refused("status", missing) == refused("status", "--store", missing)


@pytest.mark.parametrize("command", ["check", "audit"])
def test_the_same_file_as_both_classes_is_refused(refused, tmp_path, command):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "one"}\n')
    line = refused(command, "--members", path, "--nonmembers", path)
    assert f"--nonmembers {path}: --members names the same texts. Name similar texts" in line


def test_long_steps_of_an_audit_are_printed_where_stderr_is_a_file(monkeypatch, capsys):
    monkeypatch.setattr(audit_progress, "LONG_STEP", 0.05)
    with audit_progress.long_steps() as update:
        update("base model: loading")
        time.sleep(0.3)
        update("base model: scoring")
    time.sleep(0.1)
    assert capsys.readouterr().err == "byheart: base model: loading ...\n"


def test_truncated_texts_are_named_after_a_run():
    made = study(datasets=("webnlg",), methods=("full",), epochs=(0, 1), seeds=(0,))
    rows = [r for r in made if r.metric != "truncated_texts"]
    cut = [replace(rows[0], metric="truncated_texts", attack="", value=value) for value in (0.0, 23.0)]
    assert truncation_line([*rows, cut[0]]) == ""
    assert "23 texts are longer than data.max_tokens" in truncation_line([*rows, *cut])


def test_an_output_of_another_format_is_refused_before_any_work(refused, tmp_path):
    place = tmp_path / "page.pdf"
    assert f"-o {place}: the page is HTML." in refused("report", "--store", tmp_path, "-o", place)
    page = tmp_path / "page.html"
    words = ("report", "--store", tmp_path, "-o", page, "--pdf", tmp_path / "two.html")
    assert "is not named .pdf" in refused(*words)
    assert not page.exists()


@pytest.mark.parametrize("option", [("--fpr", "0.1"), ("--attacks", "loss")])
def test_options_of_bounds_require_a_bound(refused, option):
    assert f"{option[0]}: this option requires --pass-below." in refused("check", "study.yaml", *option)
