"""The page of results: its numbers are rows of a packed study, its claims hold in them, and its tables are the pack's."""

import re
from dataclasses import replace

import pytest

from byheart.analysis.formats import as_markdown
from byheart.core.registry import choose
from byheart.report.exhibits import make_tables
from byheart.study.study_report import report_content
from testing.doc_pages import DOCS, load_page_script

STUDY = DOCS / "results" / "replication_webnlg"
NOT_FROM_ROWS = {".48", ".49", ".52", ".53", ".55", ".58", ".60", ".63", ".65", ".67", ".9", ".99", "1.0"} | {
    *("0.5", "1", "2", "3", "5", "1.5", "135", "124", "80", "95", "1,000", "2,000", "5,000", "35,426"),
    *("2601.12104", ".663", ".175", "10,000", "128", "103"),
    *("2507.00258", "200", "48", "24", "64", "9", "25"),
}
"""The paper's numbers, chance and certainty, rates, names of models, and sizes of earlier studies."""


STUDIES = [
    "replication_webnlg",
    "replication_wikitext",
    "replication_dialogsum",
    "second_split",
    "thousand_texts",
    "scale",
    "sizes",
    "placement",
    "why_prompts",
    "risks",
    "stability",
    "defences",
    "ez_mia",
]


@pytest.fixture(scope="module")
def results_page():
    return load_page_script("results_page")


def changed(results_page, method, perplexity):
    """The packed study with another perplexity of a method after the last epoch, in every seed."""
    found = results_page.packed(STUDY.name)

    def lookup(study):
        if study != STUDY.name:
            return results_page.packed(study)
        ends = {"value": perplexity, "low": perplexity - 0.5, "high": perplexity + 0.5}
        chosen = ("perplexity", method, 3)
        return found._replace(
            rows=[replace(r, **ends) if (r.metric, r.method, r.epoch) == chosen else r for r in found.rows]
        )

    return lookup


def test_no_number_of_a_sentence_is_written_by_hand():
    text = (DOCS / "results.jinja").read_text()
    text = re.sub(
        r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|^```.*?^```|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.DOTALL | re.MULTILINE
    )
    text = re.sub(r"LLaMA[23]-\d+B|GPT-2|SmolLM2(-135M)?|Gemma-3-270M|bfloat16|WikiText-2", "", text)
    assert set(re.findall(r"\d*[.,]?\d+", text)) - NOT_FROM_ROWS == set()


@pytest.mark.parametrize("study", STUDIES)
def test_the_exported_tables_are_those_of_the_packed_study(results_page, study):
    content = report_content(results_page.packed_store(study), None)
    exported = sorted((STUDY.parent / study).glob("*.md"))
    assert len(exported) > 4
    for path in exported:
        name, of_tpr = path.stem.removesuffix("_tpr_at_fpr"), path.stem.endswith("_tpr_at_fpr")
        chosen = choose("tables", name, {"metric": "tpr_at_fpr"} if of_tpr else {})
        (table,) = make_tables(content, [chosen]).values()
        assert path.read_text() == as_markdown(table), path.name


def test_a_claim_that_the_rows_do_not_carry_is_refused(results_page):
    with pytest.raises(ValueError, match="the rows do not carry 'Head tuning learns least'"):
        results_page.page(changed(results_page, "head", 5.0))
