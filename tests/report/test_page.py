"""The page shows the numbers of the rows, loads nothing, runs only its own scripts, and shows every shelf entry."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import byheart.figures
import byheart.tables
from byheart.analysis.base_model_check import NO_SPLIT_CHECK
from byheart.analysis.method_verdict import CLAIMS
from byheart.core.errors import DataError, UnknownNameError
from byheart.report.exhibits import make_figures, make_tables
from byheart.report.page import report
from testing.made_up import judged, scored, study
from testing.pages import shown

FEW = study(datasets=("webnlg",), methods=("full", "prompt"), epochs=(0, 3))


def page(rows, title="A study", made=None, gates=None):
    return report(shown(rows, gates), title=title, provenance=made or {"command": "byheart run study.yaml"})


class Read(HTMLParser):
    """The page as a browser parses it: every tag with its attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags must nest"

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def plain():
    return page(study())


def test_tags_are_nested_ids_unique_and_links_valid(plain):
    read = Read(plain)
    assert read.open == []
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a"]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)


def scripts(html):
    """Return the page's data and its executable scripts."""
    found = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
    (data,) = [text for attributes, text in found if attributes]
    return json.loads(zlib.decompress(base64.b64decode(data))), [text for attributes, text in found if not attributes]


def test_the_page_loads_nothing_and_runs_only_its_own_two_scripts(plain):
    read = Read(plain)
    assert not {tag for tag, _ in read.tags} & {"link", "iframe", "object", "embed", "base"}
    sources = [a[name] for _, a in read.tags for name in ("src", "srcset", "data", "action", "poster") if name in a]
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not [name for _, a in read.tags for name in a if name.startswith("on")]
    style = plain.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for _, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    reported = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    _, run = scripts(plain)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in run]
    assert reported["default-src"] == "'none'"
    assert reported["script-src"].split() == hashes
    assert "connect-src" not in reported
    assert len(run) == 2


def test_pictures_are_complete_and_have_text_alternatives(plain):
    pictures = [a for tag, a in Read(plain).tags if tag == "img"]
    assert len(pictures) == len(make_figures(shown(study()))) == 6
    for picture in pictures:
        assert len(picture["alt"]) > 20
        root = ET.fromstring(base64.b64decode(picture["src"].partition(",")[2]))  # noqa: S314 - our own
        assert root.tag.endswith("svg")
        outside = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href") and not v.startswith("#")]
        assert outside == []


def test_the_page_contains_the_numbers_of_rows_once(plain):
    stored, _ = scripts(plain)
    rows = [r for r in study() if r.attack and r.metric in {"auc", "tpr_at_fpr"}]
    reported = [p for p in stored["data"]["points"] if p["attack"]]
    assert sorted(p["value"] for p in reported) == pytest.approx(sorted(r.value for r in rows), rel=1e-5)
    assert stored["reads"]["trajectory"] == stored["reads"]["frontier"] == ["points"]
    assert not any("datasets" in spec for spec in stored["figures"].values())


def test_records_are_the_members_with_the_highest_scores_by_id_alone():
    rows = study(datasets=("xsum",), methods=("full",))
    stored, _ = scripts(page(rows))
    (cell,) = stored["records"]
    row = next(r for r in rows if (r.attack, r.metric, r.epoch) == ("min_k", "auc", 3))
    scores = scored(rows)(row.scores)
    best = int(np.argmax(np.where(scores.members, scores.scores, -np.inf)))
    assert str(best) in cell["ids"][:5], "each of five attacks names its first in turn"
    at = cell["ids"].index(str(best))
    assert cell["scores"]["Min-K%"][at][3] == pytest.approx(scores.scores[best], rel=1e-3)
    below = (scores.scores[~scores.members] < scores.scores[best]).mean()
    assert cell["shares"]["Min-K%"][at][3] == int(1000 * below)
    assert (cell["members"], len(cell["ids"]), cell["leaks"], cell["epochs"]) == (200, 100, True, [0, 1, 2, 3])
    assert cell["texts"] == []


def test_the_switch_groups_attacks_by_what_their_adversary_has(plain):
    (switch,) = re.findall(r'<select data-pick="attack".*?</select>', plain, re.DOTALL)
    assert re.findall(r'<optgroup label="([^"]+)">|<option value="([^"]+)">', switch) == [
        ("log-probabilities", ""),
        ("", "Loss"),
        ("", "Zlib"),
        ("", "Min-K%"),
        ("next-token distributions", ""),
        ("", "Min-K%++"),
        ("log-probabilities + base model", ""),
        ("", "Reference"),
    ]
    content, _ = scripts(plain)
    assert content["attacks"] == re.findall(r'<option value="([^"]+)">', switch)


def test_the_summary_states_which_methods_leak(plain):
    words = Read(plain).words
    assert "WebNLG: 3 of 6 methods leak" in words
    assert re.search(
        r"Leaks: an adversary ranks a random member above a random non-member in 84 % \[76 %, 89 %\] of pairs\.", words
    )
    assert re.search(
        r"Loss reaches AUC 0\.838 \[0\.7\d\d, 0\.8\d\d\] after epoch 3, by an adversary who has "
        r"log-probabilities; [^.]*0\.500\.",
        words,
    )
    assert re.search(
        r"Strongest leak: full, attack \S+, AUC 0\.\d+ \[0\.\d+, 0\.\d+\]\. An adversary ranks a random member above",
        words,
    )
    assert re.search(
        r"adversaries with other access adversary has best attack AUC .*next-token distributions Min-K%\+\+ 0\.82\d \[0\.7",
        words,
    )
    assert "Validation perplexity 20.00 → 17.00." in words
    assert re.search(r"No leakage detectable [^.]*0\.62\)\.", words)
    assert "The 60 intervals" in words
    assert (
        "meets four conditions: Its interval is above 0.5. Its AUC is significantly above its AUC on the base model."
        in words
    )
    assert "Bonferroni" in words


def test_verdict_and_gate_are_shown_first_and_its_reasons_after(plain):
    words = Read(plain).words
    answer = words.partition("Can an adversary identify")[2].partition("Split check: are")[0]
    assert "WebNLG: 3 of 6 methods leak: full, head, LoRA." in answer
    assert "Split check: WebNLG: sound , WikiText: sound" in answer
    doubtful = Read(page(FEW, gates=judged("doubtful", "it looks odd"))).words
    assert "WebNLG doubtful it looks odd" in doubtful
    assert "WebNLG: 1 of 2 methods leak (split check: doubtful)" in doubtful
    assert NO_SPLIT_CHECK in Read(page(FEW, gates={})).words


def test_a_broken_split_check_withholds_every_verdict():
    words = Read(page(FEW, gates=judged("broken", "copies"))).words
    assert "WebNLG: members and non-members are not comparable (split check: broken)" in words
    assert "methods leak" not in words
    assert words.lower().count(CLAIMS["broken"]) == 2 * 2  # a badge and a sentence for each of two methods


@pytest.mark.parametrize("verdict", ["sound", "doubtful", "broken"])
def test_nothing_is_ever_called_private_or_safe(verdict):
    words = Read(page(FEW, gates=judged(verdict, "a reason"))).words
    assert not re.search(r"\b(private|privacy|safe|safely|secure|harmless|protected|anonymous)\b", words, re.IGNORECASE)


def test_a_difference_on_the_base_model_is_reported(plain):
    warning = "(AUC 0.80, "
    assert warning not in Read(plain).words
    rows = [
        replace(r, value=0.8, low=0.77, high=0.83) if (r.attack, r.metric) == ("min_k", "auc") else r for r in study()
    ]
    assert re.search(rf"Min-K% [^.]*{re.escape(warning)}", Read(page(rows)).words)


def test_tables_on_the_page_contain_all_cells(plain):
    words = Read(plain).words
    for table in make_tables(shown(study())).values():
        assert table.title in words
        assert table.note in words
        for cell in {c for row in table.rows for c in row}:
            assert cell in words


def test_the_page_shows_how_it_was_made():
    words = Read(page(study(datasets=("xsum",)), made={"command": "byheart run x.yaml", "versions": "torch 2"})).words
    assert "command byheart run x.yaml versions torch 2" in words


def test_the_page_names_the_models_to_choose():
    words = Read(page(FEW)).words
    assert (
        "Which model to choose? Lowest validation perplexity of 2 observed models: 17.00, prompt after 3 epochs (no leakage"
        in words
    )
    assert "Which model to choose on WebNLG?" in Read(page(study(methods=("full", "prompt")))).words
    assert "Which model to choose" not in Read(page(FEW, gates=judged("broken", "made up"))).words


def test_only_entries_without_data_are_left_out():
    few = {"datasets": ("webnlg",), "methods": ("full", "lora")}
    assert set(make_tables(shown(study(**few)))) == {
        "methods",
        "methods metric=tpr_at_fpr",
        "cells",
        "choices",
        "costs",
        "data_splits",
        "comparisons",
        "attack_comparisons",
        "early_stopping",
        "gains",
        "matched_utility",
        "ranking",
        "ranking metric=tpr_at_fpr",
    }
    rows = study(bases=("a", "b"), settings=("", "targets=attention"), **few)
    assert {name.split()[0] for name in make_tables(shown(rows))} == {
        "methods",
        "cells",
        "choices",
        "costs",
        "data_splits",
        "models",
        "lora_placement",
        "comparisons",
        "attack_comparisons",
        "early_stopping",
        "gains",
        "matched_utility",
        "ranking",
    }
    assert set(make_figures(shown(study(**few)))) == {
        "trajectory",
        "perplexity",
        "loss_density",
        "frontier",
        "heat_map",
        "roc",
    }
    assert set(make_figures(shown([r for r in study() if not r.attack]))) == {"perplexity"}


def test_a_study_of_one_model_at_one_epoch_makes_a_page():
    rows = [r for r in study(datasets=("xsum",), methods=("full",), epochs=(1,)) if r.attack in ("", "min_k")]
    words = Read(page(rows)).words
    assert "One attack was run on one method" in words
    assert "on the untuned model" not in words.partition("Glossary")[0]


def test_a_study_without_attacks_makes_a_page():
    assert "No verdict on leakage" in Read(page([r for r in study() if not r.attack])).words


def test_a_report_without_rows_raises_an_error():
    with pytest.raises(DataError, match=r"^report: no rows\. Run a study first\.$"):
        page([])


def test_seeds_bases_and_settings_all_appear():
    words = Read(
        page(
            study(
                datasets=("xsum",),
                methods=("full", "lora"),
                bases=("x/one", "x/two"),
                settings=("", "rank=4"),
                seeds=(0, 1),
            )
        )
    ).words
    assert "XSum · one: " in words
    assert "LoRA rank=4" in words
    assert "(mean of 2 seeds)" in words


HOSTILE = '"><script>alert(1)</script><img src=http://e.vil/x onerror=alert(2)> {{ 7 * 7 }} $\\frac{'


def test_labels_cannot_inject_scripts():
    rows = [
        replace(
            r,
            base=f"x/{HOSTILE}",
            dataset=HOSTILE,
            method=HOSTILE,
            method_settings=f"a={HOSTILE}",
            attack=r.attack and HOSTILE,
        )
        for r in study(datasets=("xsum",), methods=("lora",))
        if r.attack in ("", "loss")
    ]
    html = page(rows, title=HOSTILE, made={HOSTILE: HOSTILE})
    read = Read(html)
    assert read.open == []
    assert len([tag for tag, _ in read.tags if tag == "script"]) == 3
    assert html.count("alert(1)") == html.count("alert(1)&lt;/script&gt;") > 0
    assert all(a["src"].startswith("data:") for tag, a in read.tags if tag == "img")
    assert not [name for _, a in read.tags for name in a if name.startswith("on")]
    assert "{{ 7 * 7 }}" in read.words, "a label is no template"


def dropped(monkeypatch, folder, shelf, name, body):
    folder = folder / shelf.__name__
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(body)
    monkeypatch.setattr(shelf, "__path__", [*shelf.__path__, str(folder)])


def test_new_shelf_entries_appear(tmp_path, monkeypatch):
    shown = "Table('A dropped table', ('n',), ((str(len(rows)),),))"
    table = f"def dropped_table(rows):\n    'Dropped in.'\n    return {shown}\n"
    dropped(monkeypatch, tmp_path, byheart.tables, "dropped_table", "from byheart.core.types import Table\n" + table)
    figure = (
        "def dropped_figure(scores, rows):\n    'Drawn in.'\n    scores(rows[0].scores)\n"
        "    return Figure('Ours', alt.Chart(alt.NamedData(name='mine')).mark_point(), {'mine': [{'n': 1}]})\n"
    )
    head = "import altair as alt\nfrom byheart.analysis.chart import Figure\n"
    dropped(monkeypatch, tmp_path, byheart.figures, "dropped_figure", head + figure)
    rows = study(datasets=("xsum",))
    words = Read(page(rows)).words
    assert f"A dropped table Dropped in. n {len(rows)}" in words
    assert "Ours Ours Drawn in." in words


def test_an_entry_with_an_unknown_input_raises_an_error(tmp_path, monkeypatch):
    dropped(monkeypatch, tmp_path, byheart.tables, "greedy", "def greedy(rows, weights):\n    return 1\n")
    with pytest.raises(UnknownNameError, match=r"tables greedy.* 'weights'"):
        page(study(datasets=("xsum",)))


def test_errors_other_than_data_errors_are_raised(tmp_path, monkeypatch):
    dropped(monkeypatch, tmp_path, byheart.tables, "broken", "def broken(rows):\n    return 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        page(study(datasets=("xsum",)))


def test_the_page_is_the_same_every_time():
    rows = study(datasets=("xsum",), methods=("lora", "prefix"))
    assert page(rows) == page(rows[::-1])


def test_tables_figures_and_report_import_without_plotting_packages():
    code = (
        "import sys, byheart.report.page, byheart.analysis.formats, byheart.analysis.labels, byheart.core.registry as s\n"
        "[s.load_function(shelf, n) for shelf in ('tables', 'figures') for n in s.entry_names(shelf)]\n"
        "print([m for m in ('torch', 'altair', 'vl_convert', 'scipy', 'jinja2') if m in sys.modules])"
    )
    reported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert reported.stdout.strip() == "[]"
