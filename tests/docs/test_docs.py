"""Documentation is tested as code: generated pages are current, keys and commands exist, links are valid."""

import re
import shlex

import numpy as np
import pytest
from typer.main import get_command

import byheart
import byheart.attacks
import byheart.cli.main
from byheart.core import registry
from testing.doc_pages import PAGES, ROOT, blocks, load_page_script, name


def test_generated_pages_are_fresh():
    """The pages of results and of what to choose are among them: each number is that of the packed studies."""
    for path, text in load_page_script("generate").pages().items():
        assert path.read_text() == text, f"{path.name} is old: write make docs"


def test_every_shelf_entry_has_a_page_a_summary_and_a_source():
    for where in registry.SHELVES:
        page = (ROOT / "docs" / "shelves" / f"{where}.md").read_text()
        for entry in registry.entry_names(where):
            assert f"\n## {entry}\n" in page
            assert registry.summary(registry.load_function(where, entry)).endswith((".", "?"))
            assert registry.module_docstring(registry.load_function(where, entry))


def test_the_documented_keys_are_those_of_a_study():
    from byheart.core.config import Data, Machine, Training
    from byheart.study.study_file import _KEYS

    page = (ROOT / "docs" / "study_file.md").read_text()
    for title, expected in (
        ("Keys", _KEYS),
        *((kind.__name__, kind.__dataclass_fields__) for kind in (Data, Training, Machine)),
    ):
        (section,) = re.findall(rf"^## {title}$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
        reported = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
        assert sorted(n for line in reported for n in re.findall(r"`(\w+)`", line)) == sorted(expected), title


def commands(page):
    """The arguments of each byheart command on a page."""
    reported = [line.lstrip("# ") for b in (*blocks(page, "sh"), *blocks(page, "yaml")) for line in joined(b.text)]
    return [shlex.split(line, comments=True) for line in reported if line.startswith("byheart ")]


def joined(text):
    return text.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name)
def test_commands_and_their_options_exist(page):
    """The command line parses each byheart command on a page, up to the point where it would run."""
    known = get_command(byheart.cli.main.app).commands
    for _, command, *words in commands(page):
        if hasattr(known[command], "commands"):  # a group of commands
            command, *words = words  # noqa: PLW2901 - the command in the group
            assert known["canaries"].commands[command].make_context(command, words, resilient_parsing=False).args == []
            continue
        assert known[command].make_context(command, words, resilient_parsing=False).args == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_sentences_exist(page):
    known = get_command(byheart.cli.main.app).commands
    assert set(re.findall(r"`byheart ([a-z]+)", page.read_text())) <= set(known)


def test_commands_occur_on_their_pages():
    reported = {words[1] for page in PAGES for words in commands(page)}
    assert reported >= set(get_command(byheart.cli.main.app).commands)
    assert len([p for p in PAGES if commands(p)]) > 5


def test_the_attack_of_the_contributors_page_works(tmp_path, monkeypatch):
    (tmp_path / "first_choice.py").write_text(blocks(ROOT / "docs" / "contributing.md", "python")[0].text)
    monkeypatch.setattr(byheart.attacks, "__path__", [*byheart.attacks.__path__, str(tmp_path)])
    chosen = registry.choose("attacks", "first_choice", {"share": 0.3})
    logprobs = byheart.LogProbs(logp=np.log([0.5, 0.2, 0.9]), starts=np.array([0, 2, 3]))
    assert chosen(logprobs).tolist() == [0.5, 1.0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_are_valid(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
