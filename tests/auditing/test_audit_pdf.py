"""`byheart report FOLDER --pdf`: two pages of a saved audit, from its rows."""

import json
import shutil

from byheart.auditing.render import attack_table
from byheart.auditing.saved import read_audit
from byheart.store.seal import MANIFEST, read_sealed
from testing.audited import refusal
from testing.pdf_text import pdf_pages

ATTACKS = ("--attacks", "loss,min_k", "--fpr", "0.1")


def test_a_report_of_an_audit_refuses_what_it_would_ignore_or_change(base, command, typed, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert command("--model", base, "--attacks", "loss", "-o", first)[0] == 0
    shutil.copytree(first, second)
    report = ("report", first, "--annex", "edpb")
    for option in (("--export", second), ("--export", second / "new"), ("--pdf", second / "s.pdf")):
        assert "the folder second is sealed. Name a path outside it." in refusal(typed(*report, *option))
    assert sorted(p.name for p in first.iterdir()) == sorted(p.name for p in second.iterdir())
    for option in (("--study", "tiny"), ("-o", tmp_path / "page.html"), ("--show-text",)):
        assert f"{option[0]}" in refusal(typed(*report, *option))
    (tmp_path / "store.json").write_text("{}")
    assert f"It is a store of studies: byheart report --store {tmp_path}" in refusal(typed("report", tmp_path))


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
    assert "AUC below 0.9 not shown: the upper 95 % end" in text
    for line in attack_table(read_audit(folder)).rows:
        assert " ".join(line) in text
    assert f"seal: {manifest['seal']}" in text

    assert "Add --pdf FILE" in refusal(typed("report", folder))
    rows = json.loads((folder / "rows.json").read_text())
    (folder / "rows.json").write_text(json.dumps([{**r, "value": 0.5} for r in rows]))
    assert "rows.json: changed" in refusal(typed("report", folder, "--pdf", tmp_path / "b.pdf"))
    assert "is not the folder of an audit" in refusal(typed("report", tmp_path / "other", "--pdf", tmp_path / "b.pdf"))
    assert not (tmp_path / "b.pdf").exists()
