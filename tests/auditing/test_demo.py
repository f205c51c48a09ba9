"""The first audit: one command trains, audits and writes a page, and its last line audits again."""

import shlex
import sys

import pytest

from byheart.cli.main import main
from testing.audited import refusal


def test_the_demonstration_trains_audits_and_writes_a_page(base, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def typed(*words):
        monkeypatch.setattr(sys, "argv", ["byheart", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    words = ("demo", "audit", "--base", base, "--texts", "20", "--epochs", "1", "-o", "first")
    code, out, err = typed(*words)
    assert code == 0, err
    assert "20 members against 20 non-members" in out
    assert "epoch 1 of 1: training loss" in err
    assert {p.name for p in (tmp_path / "first").iterdir()} == {
        "members.jsonl",
        "nonmembers.jsonl",
        "validation.jsonl",
        "lora",
        "audit",
    }
    assert (tmp_path / "first" / "audit" / "report.html").exists()
    again = shlex.split(out.splitlines()[-1].replace("--attacks all", "--attacks loss"))
    assert again[:2] == ["byheart", "audit"]
    assert typed(*again[1:])[0] == 0
    assert typed("verify", "first/audit", "--input", "adapter=first/lora")[0] == 0
    assert "already exists" in refusal(typed(*words))
