"""The first audit: one command trains, audits and writes a page, and its last line audits again."""

import shlex
import sys

import pytest

from byheart.auditing import demo
from byheart.auditing.demo import demo_audit
from byheart.cli.main import main
from byheart.core.errors import ModelError
from testing.audited import refusal


def test_the_demonstration_trains_audits_and_writes_a_page(base, typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    words = ("demo", "audit", "--base", base, "--texts", "20", "--epochs", "1", "-o", "my first")
    code, out, err = typed(*words)
    assert code == 0, err
    assert "20 members against 20 non-members" in out
    assert "epoch 1 of 1: training loss" in err
    assert {p.name for p in (tmp_path / "my first").iterdir()} == {
        "members.jsonl",
        "nonmembers.jsonl",
        "validation.jsonl",
        "lora",
        "audit",
    }
    assert (tmp_path / "my first" / "audit" / "report.html").exists()
    again = shlex.split(out.splitlines()[-1].replace("--attacks all", "--attacks loss"))
    assert again[:2] == ["byheart", "audit"]
    assert typed(*again[1:])[0] == 0
    assert typed("verify", "my first/audit", "--input", "adapter=my first/lora")[0] == 0
    assert "already exists" in refusal(typed(*words))


def test_a_failed_or_interrupted_demonstration_leaves_no_folder(base, tmp_path, monkeypatch):
    settings = {"texts": 20, "epochs": 1, "command": ""}
    with pytest.raises(ModelError):
        demo_audit(tmp_path / "first", base=str(tmp_path / "none"), on_status=print, **settings)
    assert not (tmp_path / "first").exists()

    def interrupt(line):
        if line.startswith("epoch"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo_audit(tmp_path / "first", base=base, on_status=interrupt, **settings)
    assert not (tmp_path / "first").exists()


def test_an_interrupted_demonstration_says_that_nothing_was_written(monkeypatch, capsys, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "demo_audit", interrupt)
    monkeypatch.setattr(sys, "argv", ["byheart", "demo", "audit", "-o", str(tmp_path / "first")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "Nothing was written" in capsys.readouterr().err
