"""The documentation is code: its studies are sound, its Python runs, its pages are fresh, its links lead somewhere."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

import byheart
import byheart.attacks
import byheart.cli
from byheart import shelf
from byheart.study import study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_shelf_pages_are_fresh():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in module.pages().items():
        assert path.read_text() == text, f"{path.name} is old: write make docs"


def test_every_shelf_entry_has_a_page_a_summary_and_a_source():
    for name in shelf.SHELVES:
        page = (ROOT / "docs" / "shelves" / f"{name}.md").read_text()
        for entry in shelf.names(name):
            assert f"\n## {entry}\n" in page
            assert shelf.summary(shelf.find(name, entry)).endswith((".", "?"))
            assert shelf.source(shelf.find(name, entry))


def test_the_studies_of_the_readme_are_sound():
    found = blocks(ROOT / "README.md", "yaml")
    assert found
    for text in found:
        assert study({"models": "some/model", **YAML(typ="safe").load(text)}).cells


def test_the_keys_of_the_readme_are_those_of_a_study():
    from byheart.study import _KEYS

    told = set(re.findall(r"^\| (`[^|]*) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {n for line in told for n in re.findall(r"`(\w+)`", line)} == set(_KEYS) - {"name"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_exist_and_take_what_they_are_given(page):
    """Each byheart line of a page is parsed by the command line itself, up to the point where it would run."""
    known = get_command(byheart.cli.app).commands
    for block in blocks(page, "sh") + blocks(page, "yaml"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.lstrip("# "), comments=True) if line.lstrip("# ").startswith("byheart ") else []
            if words:
                known[words[1]].make_context(words[1], words[2:], resilient_parsing=False)


def test_the_python_of_the_readme_runs(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").symlink_to(tiny_folder("llama"))
    (tmp_path / "studies").mkdir()
    small = {"train": 4, "members": 4, "nonmembers": 4, "validation": 2, "max_tokens": 40}
    study = {"models": str(tiny_folder("llama")), "data": small, "methods": ["head"], "training": {"epochs": 1}}
    (tmp_path / "studies" / "quickstart.yaml").write_text(json.dumps(study))
    names = {}
    exec("\n".join(blocks(ROOT / "README.md", "python")), names)  # noqa: S102 - the README's own code
    assert not names["results"].failed
    assert len(names["scores"]) == 2


def test_the_attack_of_the_contributors_page_works(tmp_path, monkeypatch):
    (tmp_path / "typical.py").write_text(blocks(ROOT / "docs" / "extending.md", "python")[0])
    monkeypatch.setattr(byheart.attacks, "__path__", [*byheart.attacks.__path__, str(tmp_path)])
    chosen = shelf.choose("attacks", "typical", {"power": 2})
    one = np.array([-1.0, -3.0])
    stats = byheart.TokenStats(
        logp=one,
        starts=np.array([0, 2]),
        mean=np.array([-2.0, -2.0]),
        std=one * 0 + 1,
        entropy=one * 0 + 2,
        rank=np.array([0, 4]),
    )
    assert chosen(stats).tolist() == [-1.0]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
