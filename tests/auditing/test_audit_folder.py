"""The folder of an audit, and the tutorial that creates one."""

import importlib.util
import json
import re
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from transformers import AutoTokenizer

import byheart
from byheart.cli.main import main
from testing.audited import MEMBERS, NONMEMBERS, SHORT, TEXTS, VALIDATION, opened, records, refusal
from testing.stand_in_server import StandIn


def test_the_folder_contains_all_results_and_no_text_by_default(base, saved, command, tmp_path):
    words = ("--model", saved / "full", "--base", base, "--validation", "v")
    words = (*words[:-1], str(records(tmp_path / "v.jsonl", [{"text": t} for t in VALIDATION])))
    assert command(*words, "-o", tmp_path / "out")[0] == 0
    out = tmp_path / "out"
    names = {
        "report.html",
        "rows.json",
        "rows.parquet",
        "scores.parquet",
        "exposed.csv",
        "manifest.json",
        "model_card.md",
        "model_index.yaml",
    }
    assert {p.name for p in out.iterdir()} == names
    everything = b"".join(p.read_bytes() for p in out.iterdir() if p.suffix != ".parquet").decode()
    assert not any(text in everything for text in TEXTS)
    assert "perplexity" in everything

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["command"].startswith("byheart audit --model")
    assert set(manifest["made"]["weights"]) == {"model", "base"}
    assert set(manifest["made"]["data"]) == {"member", "nonmember", "validation"}
    assert manifest["made"]["versions"]["torch"] == metadata.version("torch")
    scores = pyarrow.parquet.read_table(out / "scores.parquet").to_pydict()
    assert scores["id"][0] == "member/m-0"
    assert {"loss", "base/loss", "reference", "member", "group"} <= set(scores)
    exposed = (out / "exposed.csv").read_text().splitlines()
    assert len(exposed) == 1 + len(MEMBERS)
    assert exposed[1].startswith("m-")
    page = (out / "report.html").read_text()
    answer = page.partition('<section id="answer"')[2].partition("</section>")[0]
    assert "Leaks: " in answer  # only the verdict of the audit
    assert page.count('id="summary"') == 1
    assert "A method is said to leak" not in page

    assert refusal(command(*words, "-o", out)) == (
        f"byheart: {out}: the path already exists. Choose another folder with -o, or remove it."
    )
    assert command(*words, "-o", tmp_path / "shown", "--show-text")[0] == 0
    assert any(text in (tmp_path / "shown" / "exposed.csv").read_text() for text in MEMBERS)


def test_a_folder_is_written_completely_or_not_at_all(base, saved, tmp_path, monkeypatch):
    found = byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), MEMBERS, NONMEMBERS, attacks=["loss"]
    )
    write = Path.write_bytes

    def watched(path, content):
        assert not (tmp_path / "whole").exists()
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", watched)
    assert found.save(tmp_path / "whole") == tmp_path / "whole"
    shutil.rmtree(tmp_path / "whole")
    monkeypatch.setattr("byheart.auditing.save.model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found.save(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_the_audit_and_escapes_labels(base, saved):
    texts = [{"id": f"<b>{i}|", "text": t} for i, t in enumerate(MEMBERS)]
    found = byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), texts, NONMEMBERS, attacks=SHORT
    )
    assert found._repr_html_().startswith("<p><b>")
    assert "Attacks" in found._repr_markdown_()
    assert repr(found) == f"Audit({found.verdict})"
    scores = found.scores[1][found.ranking_attack][: len(MEMBERS)]
    first = found.exposed_members(3)
    assert [e.id for e in first] == [f"<b>{i}|" for i in np.argsort(-scores, kind="stable")[:3]]
    assert first[0].above == (found.scores[1][found.ranking_attack][len(MEMBERS) :] < first[0].score).mean()


ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorials/audit.md").read_text()


def test_the_python_of_the_tutorial_runs(base, saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"model": opened(base, saved, "lora"), "tokenizer": AutoTokenizer.from_pretrained(base)}
    block, served = re.findall(r"^```python\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    exec(block, {**names, "members": MEMBERS, "nonmembers": NONMEMBERS})  # noqa: S102 - the tutorial's own code
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert (tmp_path / "audited" / "report.html").exists()
    with StandIn({"my-model": base}) as server:
        words = served.replace("http://localhost:8000/v1", server.url)
        exec(words, stored := {"byheart": byheart, "members": MEMBERS, "nonmembers": NONMEMBERS})  # noqa: S102 - the same
    assert set(stored["audit"].scores) == {1}


def test_the_commands_of_the_tutorial_run(base, tmp_path, monkeypatch, capsys):
    """The first five minutes, on a tiny model and few texts."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("finetune", ROOT / "examples" / "finetune.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)[1:3]
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words[0] in {"make", "source"}:
            continue
        if words[0] == "python":
            monkeypatch.setattr(sys, "argv", [*words[1:], "--model", base, "--texts", "20", "--epochs", "1"])
            example.main()
        else:
            monkeypatch.setattr(sys, "argv", [*words, "--device", "cpu"])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 0
    assert capsys.readouterr().out.count("20 members against 20 non-members") == 2
    assert (tmp_path / "audit" / "report.html").exists()


def test_the_tutorial_names_all_files_of_a_result(base, saved, tmp_path):
    found = byheart.audit(
        opened(base, saved, "lora"), AutoTokenizer.from_pretrained(base), MEMBERS, NONMEMBERS, attacks=["loss"]
    )
    for path in found.save(tmp_path / "out").iterdir():
        assert f"`{path.name}`" in TUTORIAL
