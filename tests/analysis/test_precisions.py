"""A mixture of training precisions is named under every table and on the page; fractions of epochs are chosen from a list."""

from dataclasses import replace

from byheart.analysis.precisions import precision_warning
from byheart.report.exhibits import ReportContent, make_tables
from byheart.report.page import report
from testing.made_up import everything, study

ROWS = study(datasets=("webnlg",), methods=("full", "lora"), seeds=(0, 1))
SAME = [replace(r, precision="float32") for r in ROWS]
MIXED = [replace(r, precision="bfloat16" if (r.method, r.seed) == ("lora", 1) else "float32") for r in ROWS]


def test_one_precision_is_no_mixture_and_an_unknown_one_is_left_out():
    assert not precision_warning([])
    assert not precision_warning(ROWS)
    assert not precision_warning(SAME)
    assert not precision_warning([*ROWS, *SAME])


def test_a_mixture_names_the_models():
    warning = precision_warning(MIXED)
    assert "bfloat16 (WebNLG, LoRA, seed 1); float32 (" in warning
    assert "WebNLG, full, seed 1" in warning
    assert "machine.precision" in warning
    assert "\n" not in warning


def test_many_models_of_a_precision_are_counted():
    rows = study(datasets=("webnlg",), methods=("full", "lora"), seeds=range(5))
    warning = precision_warning([replace(r, precision="bfloat16" if r.method == "lora" else "float32") for r in rows])
    assert (
        "bfloat16 (5 models, such as WebNLG, LoRA, seed 0); float32 (5 models, such as WebNLG, full, seed 0)" in warning
    )
    assert "seed 1" not in warning


def test_every_table_and_the_page_warn():
    for rows, warned in ((SAME, False), (MIXED, True)):
        content = ReportContent(**everything(rows))
        tables = make_tables(content)
        assert all(("different precisions" in t.note) == warned for t in tables.values())
        page = report(content, title="tiny", provenance={})
        assert ("different precisions" in page.split("<section", 2)[1]) == warned


def test_the_page_offers_the_observed_epochs():
    complete = report(ReportContent(**everything(SAME)), title="tiny", provenance={})
    assert 'type="range" data-pick="epoch"' in complete
    rows = study(datasets=("webnlg",), methods=("full", "lora"), epochs=(0, 0.25, 1, 3))
    page = report(ReportContent(**everything(rows)), title="tiny", provenance={})
    assert 'type="range" data-pick="epoch"' not in page
    assert '<option value="0.25">0.25</option>' in page
    assert '<option value="3" selected>3</option>' in page
