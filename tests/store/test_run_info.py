"""The page of a study states how to repeat it: the command, its settings, the hardware."""

import os
import re
import shlex
import sys
import types
from html import unescape
from pathlib import Path

import pytest

import byheart
from byheart.cli.main import main
from byheart.core.errors import StoreError
from byheart.store import provenance
from byheart.store.rows import study_rows
from byheart.store.run_info import run_details, unfinished_studies
from byheart.store.store import Store
from byheart.study.overrides import as_yaml, rerun_command
from byheart.study.study_file import parse_study as parsed
from byheart.study.study_file import read_study
from byheart.study.study_report import report_page

STUDIES = sorted((Path(__file__).parents[2] / "studies").rglob("*.yaml"))


def content(folder):
    return {
        "name": "again",
        "models": str(folder),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": [{"lora": {"rank": [2, 4]}}],
        "training": {"epochs": 1, "batch_size": 4, "learning_rate": 1e-4},
        "attacks": ("loss",),
        "metrics": ["auc", "perplexity"],
    }


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_a_study_written_as_yaml_is_read_as_the_same_study(path, tmp_path):
    complete = read_study(path, ["training.epochs=7", "data.near_duplicate=0.75"])
    again = tmp_path / "again.yaml"
    again.write_text(as_yaml(complete.content))
    for beside in path.parent.glob("*.csv"):
        (tmp_path / beside.name).write_bytes(beside.read_bytes())
    same = read_study(again, [f"name={complete.name}"])
    assert same == complete
    assert {c.training.epochs for c in same.cells} == {7}


def test_the_command_splits_into_its_arguments():
    path, overrides = Path("my study.yaml"), ["methods=[lora, head]", "datasets=[{records: {count: 60}}]", "name=it's"]
    words = shlex.split(rerun_command(path, overrides))
    assert words == ["byheart", "run", "my study.yaml", *(w for o in overrides for w in ("--set", o))]


def test_a_store_without_a_finished_cell_names_the_command_that_continues(tmp_path):
    store = Store.open(tmp_path / "store")
    store.note("studies", "mine", {"rows": [], "command": "byheart run mine.yaml --set seeds=1"})
    with pytest.raises(StoreError, match=f"Continue with: byheart run mine.yaml --set seeds=1 --store {store.root}"):
        study_rows(store)
    store.note("studies", "other", {"rows": [], "command": "byheart run other.yaml"})
    with pytest.raises(StoreError, match=r"of mine, other is finished. Continue with: byheart run STUDY.yaml"):
        study_rows(store)
    with pytest.raises(StoreError, match=r"of other is finished. Continue with: byheart run other.yaml"):
        study_rows(store, "other")


def pasted(page):
    """The settings of a page, as copied from it."""
    return unescape(re.search(r"<dt>settings as written \(again\)</dt><dd>(.*?)</dd>", page, re.DOTALL)[1])


def test_a_study_run_from_python_shows_settings_to_paste_and_one_from_a_file_its_command_too(tiny_folder, tmp_path):
    given = content(tiny_folder("llama"))
    assert not byheart.run(given, store=tmp_path / "store").failed
    store = Store.open(tmp_path / "store")
    reported = run_details(store, "again")
    assert "command (again)" not in reported
    page = report_page(store, "again", tmp_path / "page.html").read_text()
    (tmp_path / "pasted.yaml").write_text(pasted(page))
    assert read_study(tmp_path / "pasted.yaml") == parsed(given)

    wanted = read_study(tmp_path / "pasted.yaml", ["methods=[head]"])
    assert not byheart.run(wanted, store=store).failed
    page = report_page(store, "again", tmp_path / "page.html").read_text()
    assert f"byheart run {tmp_path / 'pasted.yaml'} --set &#39;methods=[head]&#39;" in page
    (tmp_path / "second.yaml").write_text(pasted(page))
    assert read_study(tmp_path / "second.yaml") == wanted
    assert f"cores {os.cpu_count()}" in run_details(store, "again")["hardware"]


def test_a_page_of_an_unfinished_study_says_so_first(tiny_folder, tmp_path, monkeypatch, capsys):
    assert not byheart.run(content(tiny_folder("llama")), store=tmp_path / "store").failed
    store, page = Store.open(tmp_path / "store"), tmp_path / "page.html"
    assert "Not complete" not in report_page(store, "again", page).read_text()
    assert unfinished_studies(store, None) == []
    store.drop("rows", next(iter(store.keys("rows"))))
    assert unfinished_studies(store, "again") == ["again: 1 of 2 cells are finished"]
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["byheart", "report", "--store", str(tmp_path / "store"), "-o", str(page)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "note: again: 1 of 2 cells are finished; the others may change every verdict" in capsys.readouterr().out
    answers = page.read_text().partition('<ul class="answers">')[2]
    assert answers.lstrip().startswith("<li><strong>Not complete: again: 1 of 2 cells are finished.</strong>")


def test_notes_of_older_stores_are_still_shown(tiny_folder, tmp_path):
    assert not byheart.run(content(tiny_folder("llama")), store=tmp_path / "store").failed
    store = Store.open(tmp_path / "store")
    stored = store.notes("studies")["again"]
    store.note("studies", "again", {n: v for n, v in stored.items() if n not in {"command", "written", "published"}})
    reported = run_details(store, "again")
    assert not [n for n in reported if n.startswith(("command", "settings"))]
    assert report_page(store, "again", tmp_path / "page.html").exists()


def test_a_gpu_is_recorded_only_if_this_process_used_it(monkeypatch):
    requested = []

    def fake(*, awake, used):
        cuda = types.SimpleNamespace(
            is_initialized=lambda: awake,
            device_count=lambda: requested.append("count") or 2,
            max_memory_allocated=lambda i: used[i],
            get_device_name=lambda i: f"Card {i}",
        )
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))

    fake(awake=False, used=[1, 1])
    assert "gpu" not in provenance.result_provenance(0)["machine"]
    assert requested == []
    fake(awake=True, used=[0, 7])
    assert provenance.result_provenance(0)["machine"]["gpu"] == "Card 1"
    monkeypatch.delitem(sys.modules, "torch")
    assert "gpu" not in provenance.result_provenance(0)["machine"]
