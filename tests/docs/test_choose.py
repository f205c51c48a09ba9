"""The page that recommends methods: its numbers are rows, and its sentences follow from rows."""

import re
from dataclasses import replace

import pytest

from testing.doc_pages import DOCS, load_page_script

NOT_FROM_ROWS = {"0.5", "1", "2", "3", "8", "135", "95"}
"""Chance and certainty, rates, epochs in headers, an epsilon, and names of the model and of data."""


@pytest.fixture(scope="module")
def choose_page():
    return load_page_script("choose_page")


def changed(choose_page, value, **row):
    """Look up rows; matching rows have this value, with an interval around it."""
    ends = {"value": value, "low": value - 0.05, "high": value + 0.05}

    def rows(study):
        return [
            {**r, **{n: str(end) for n, end in ends.items()}} if all(r[n] == v for n, v in row.items()) else r
            for r in choose_page.results(study)
        ]

    def lookup(study):
        found = choose_page.packed(study)
        is_changed = [all(str(getattr(r, n)) == v for n, v in row.items()) for r in found.rows]
        return found._replace(
            rows=[replace(r, **ends, scores="") if c else r for r, c in zip(found.rows, is_changed, strict=True)]
        )

    return {"lookup": lookup, "rows": rows}


def test_no_number_of_a_sentence_is_written_by_hand():
    text = (DOCS / "choose.jinja").read_text()
    text = re.sub(
        r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|^```.*?^```|`[^`\n]*`|\]\([^)]*\)|^\d\. ",
        "",
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    assert set(re.findall(r"\d*\.?\d+", text)) <= NOT_FROM_ROWS


def test_a_changed_row_changes_the_sentence(choose_page):
    row = {"metric": "auc", "attack": "info_rmia", "dataset": "wikipedia", "method": "p_tuning", "epoch": "2"}
    page = choose_page.page(**changed(choose_page, 0.62, **row))
    assert page.count(".62 [.57, .67]") == 2, "the recommendation and the table"


@pytest.mark.parametrize(
    ("value", "row", "sentence"),
    [
        (0.52, {"metric": "auc", "attack": "info_rmia", "dataset": "wikipedia", "method": "prompt", "epoch": "2"}, "all six"),
        (0.99, {"metric": "auc", "attack": "info_rmia", "method": "prompt", "epoch": "2"}, "lowest AUCs"),
        (4.5, {"metric": "perplexity", "method": "head", "epoch": "3"}, "worst on all three"),
        (20.0, {"metric": "perplexity", "method": "dp_lora", "epoch": "3"}, "almost nothing"),
        (1.5, {"metric": "exposure", "method": "dp_lora", "epoch": "3", "metric_settings": "repeated=16"}, "no risk above chance"),
        (0.95, {"metric": "auc", "attack": "reference", "method": "full", "epoch": "1"}, "Reference has a higher AUC"),
        (0.1, {"metric": "extraction_rate", "attack": "approximate", "method": "lora", "epoch": "3"}, "no record is extracted"),
    ],
)  # fmt: skip
def test_a_sentence_that_rows_do_not_support_is_refused(choose_page, value, row, sentence):
    with pytest.raises(ValueError, match=f"the rows do not carry .*{sentence}"):
        choose_page.page(**changed(choose_page, value, **row))


def test_prompt_methods_are_not_recommended_without_the_attacks_that_detect_them(choose_page):
    """Shadow models reach .77 and .84 for the methods that other attacks do not detect."""
    (line,) = (x for x in choose_page.page().splitlines() if x.startswith("| the least measured leakage"))
    for method in ("prompt", "p_tuning"):
        row = {"attack": "info_rmia", "dataset": "wikipedia", "method": method, "epoch": 2}
        found = choose_page.found_number(choose_page.results("attacks"), "attacks", "auc", row)
        assert choose_page.interval(found) in line
