"""The prose lint finds banned words, and skips names, URLs and code."""

import pytest

from testing.doc_pages import load_page_script


@pytest.fixture(scope="module")
def lint():
    return load_page_script("prose_lint")


@pytest.mark.parametrize(
    "text",
    [
        "Members are told from non-members.",
        "the store held nothing",
        "those that leak",
        "nobody can say",
        "memorisation of labelled texts",
        "Licence: Apache-2.0",
        "behaviour",
        "mends",
    ],
)
def test_banned_words_and_british_spelling_are_found(lint, text):
    assert next(iter(lint.findings(f"A first line.\n{text}\n")))[0] == 2


@pytest.mark.parametrize(
    "text",
    [
        "held-out records, held out of training",
        "`generalisation_gap` and generalisation_gap=1",
        "https://example.org/behaviour",
        "[page](defences.md)",
        "told  # prose: ignore",
        "memorization, labeled, analyses",
    ],
)
def test_names_links_and_terms_of_the_field_pass(lint, text):
    assert not list(lint.findings(text))


def test_only_comments_docstrings_and_function_names_of_tests_are_checked(lint):
    source = '"""Nobody."""\n\n\ndef test_mends(labelled="told"):\n    pass  # behaviour\n'
    assert list(lint.findings(lint.prose_of_test(source))) == [(1, "Nobody"), (4, "mends"), (5, "behaviour")]
    assert any(path.name == "test_prose.py" for path in lint.test_files())


def test_source_and_pages_are_checked(lint):
    names = {path.name for path in lint.files()}
    assert {"README.md", "min_k.py", "decisions.md", "report.html.jinja", "watch_training.py"} <= names
