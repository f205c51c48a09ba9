"""`byheart report FOLDER --pdf`: two pages of a saved audit, from its rows."""

import json
import sys

import pytest

from byheart.auditing.render import attack_table
from byheart.auditing.saved import read_audit
from byheart.cli.main import main
from byheart.store.seal import MANIFEST, read_sealed
from testing.audited import refusal
from testing.pdf_text import pdf_pages

ATTACKS = ("--attacks", "loss,min_k", "--fpr", "0.1")


@pytest.fixture
def typed(monkeypatch, capsys):
    """A function from what is typed after `byheart` to exit code, output and errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["byheart", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return run


def test_the_pdf_of_an_audit_has_the_numbers_of_its_folder(base, saved, command, typed, tmp_path):
    plan, folder = tmp_path / "plan.json", tmp_path / "audit"
    assert command(*ATTACKS, "--pass-below", "auc=0.9", "--preregister", plan)[0] == 0
    words = ("--model", saved / "full", "--base", base, *ATTACKS, "--preregistered", plan)
    assert command(*words, "--pass-below", "auc=0.9", "-o", folder)[0] == 4
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    code, out, _ = typed("report", folder, "--pdf", tmp_path / "audit.pdf")
    assert code == 0
    assert out.startswith(f"pdf: {tmp_path / 'audit.pdf'} (")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    text = " ".join(pdf_pages(tmp_path / "audit.pdf"))
    manifest = read_sealed(folder / MANIFEST)
    assert manifest["sentence"][1:] in text
    assert "followed" in text
    assert "AUC below 0.9 not shown: the upper end" in text
    for line in attack_table(read_audit(folder)).rows:
        assert " ".join(line) in text
    assert f"seal: {manifest['seal']}" in text

    assert "Add --pdf FILE" in refusal(typed("report", folder))
    rows = json.loads((folder / "rows.json").read_text())
    (folder / "rows.json").write_text(json.dumps([{**r, "value": 0.5} for r in rows]))
    assert "rows.json: changed" in refusal(typed("report", folder, "--pdf", tmp_path / "b.pdf"))
    assert "is not the folder of an audit" in refusal(typed("report", tmp_path / "other", "--pdf", tmp_path / "b.pdf"))
    assert not (tmp_path / "b.pdf").exists()
