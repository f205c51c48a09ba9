"""Two pages as PDF: they hold what the page says, labels are never markup, and an absent engine is one line."""

import importlib.util
import re

import pytest

from byheart.analysis.base_model_check import panel_gates
from byheart.analysis.verdicts import verdicts
from byheart.core.errors import DataError, SettingError, StoreError
from byheart.core.registry import choose
from byheart.core.types import Table
from byheart.report.exhibits import make_tables
from byheart.report.pdf import MAX_PAGES, write_pdf
from byheart.report.summary import Summary, SummaryFinding, study_summary
from testing.made_up import study
from testing.pages import shown
from testing.pdf_text import pdf_pages

TABLE = Table("Attacks", ("attack", "AUC"), (("loss", "0.852 [0.840, 0.864]"), ("min_k", "0.700")), "95 % intervals.")


def summary(**changes):
    content = {
        "title": "Audit of a model",
        "question": "Can an adversary identify the texts?",
        "findings": [
            SummaryFinding("Leaks: an adversary identifies 92 % of the members.", "leaks", "LOSS reaches 0.9.")
        ],
        "gates": [("Split check", "doubtful")],
        "warnings": ["48 members are few"],
        "tables": [TABLE],
        "figures": [],
        "provenance": {"command": "byheart audit --model m", "seal": "ab" * 32},
    }
    return Summary(**{**content, **changes})


def test_the_pages_hold_verdict_split_check_warnings_tables_and_provenance(tmp_path):
    assert write_pdf(summary(), tmp_path / "new" / "a.pdf") == 1
    (page,) = pdf_pages(tmp_path / "new" / "a.pdf")
    for words in (
        "Audit of a model",
        "identifies 92 % of the members. leaks",
        "LOSS reaches 0.9.",
        "Split check doubtful",
        "48 members are few",
        "attack AUC",
        "0.852 [0.840, 0.864]",
        "min_k 0.700",
        "95 % intervals.",
        "command: byheart audit --model m",
        "1 / 1",
    ):
        assert words in page, words
    assert f"seal: {'ab' * 32}" in page


def test_equal_content_gives_equal_files(tmp_path):
    files = [tmp_path / "a.pdf", tmp_path / "b.pdf"]
    for file in files:
        write_pdf(summary(), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_label_is_text_and_not_markup(tmp_path):
    label = '#panic("x") $y$ *z* <w> @v `u` \\ #read("/etc/passwd") [t] = s'
    hostile = Table(label, (label, "n"), ((label, "1"),), label)
    write_pdf(
        summary(
            title=label,
            findings=[SummaryFinding(label, "leaks", label)],
            warnings=[label],
            tables=[hostile],
            provenance={label: label},
        ),
        tmp_path / "a.pdf",
    )
    text = " ".join(pdf_pages(tmp_path / "a.pdf")).replace("\u200b", "")
    assert text.count('#panic("x") $y$ *z*') >= 7
    assert "root:" not in text


def test_long_reports_are_cut_to_two_pages_and_say_so(tmp_path):
    lines = tuple((f"attack {i}", f"0.{i:03}") for i in range(300))
    long = summary(
        findings=[SummaryFinding(f"Method {i}: leaks.", "leaks", "numbers " * 30) for i in range(60)],
        warnings=[f"warning {i} " * 20 for i in range(40)],
        tables=[Table(f"Table {i}", ("attack", "AUC"), lines) for i in range(9)],
        provenance={f"line {i}": "word " * 200 for i in range(12)},
    )
    assert write_pdf(long, tmp_path / "a.pdf") == MAX_PAGES
    pages = pdf_pages(tmp_path / "a.pdf")
    assert len(pages) == MAX_PAGES
    assert "more verdicts are in the page" in pages[0]
    assert "more warnings are in the page" in " ".join(pages)
    assert "(whole in the page)" in pages[1]
    assert re.search(r"Only in the page: \d tables\.", " ".join(pages))
    tall = summary(tables=[Table("Tall", ("attack", "AUC"), lines)])
    write_pdf(tall, tmp_path / "b.pdf")
    assert "276 more lines are in the page." in " ".join(pdf_pages(tmp_path / "b.pdf"))


def test_an_absent_engine_and_other_paths_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(SettingError, match=r"--pdf .*a\.html: is not named \.pdf"):
        write_pdf(summary(), tmp_path / "a.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_pdf(summary(), tmp_path / "file" / "a.pdf")
    find = importlib.util.find_spec
    monkeypatch.setattr("byheart.report.pdf.find_spec", lambda name: None if name == "typst" else find(name))
    with pytest.raises(SettingError, match=r"^--pdf: .*pip install 'byheart\[pdf\]'$"):
        write_pdf(summary(), tmp_path / "a.pdf")
    assert not (tmp_path / "a.pdf").exists()


def test_the_pages_of_a_study_have_its_verdicts_and_tables(tmp_path):
    rows = study(datasets=("webnlg",), methods=("full", "prompt"), epochs=(0, 3))
    content = shown(rows)
    made = study_summary(
        content,
        title="A study",
        provenance={"command": "byheart run study.yaml"},
        tables=[choose("tables", "methods")],
        figures=[choose("figures", "frontier")],
    )
    assert write_pdf(made, tmp_path / "study.pdf") <= MAX_PAGES
    text = " ".join(pdf_pages(tmp_path / "study.pdf"))
    gates = panel_gates(content.rows, content.scores, content.gates)
    (judged,) = verdicts(content.rows, content.scores, gates).values()
    assert len(judged) == 2
    for verdict in judged:
        assert " ".join(f"{verdict.method}: {verdict.sentence}.".split()) in text
    (table,) = make_tables(content, [choose("tables", "methods")]).values()
    for row in table.rows:
        assert " ".join(row) in text
    assert made.figures[0].words in text
    with pytest.raises(DataError, match="no rows"):
        study_summary(content._replace(rows=()), title="", provenance={})
