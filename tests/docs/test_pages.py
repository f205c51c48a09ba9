"""Code blocks of every page work: Python runs on tiny models, YAML is a study, commands exist."""

import csv
import importlib
import json
import re
import shlex
import sys
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
from datasets import Dataset
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig

import byheart
from byheart.core import ragged, registry
from byheart.core.defaults import CALIBRATED_SYNTHETIC_ATTACKS, SYNTHETIC_ATTACKS
from byheart.lm.forward import token_stats
from byheart.lm.load import load
from byheart.lm.tokens import tokenize
from byheart.store.rows import score_reader, study_rows
from byheart.store.store import Store
from byheart.study.export_model import export_model
from byheart.study.study_file import parse_study
from byheart.study.study_report import export_folder, report_page
from testing.doc_pages import DOCS, PAGES, ROOT, blocks, lines, name
from testing.made_up import WHERE, WHO
from testing.reading import texts_of
from testing.stand_in_server import StandIn
from testing.stores import lora_study

TEXTS = [f"{who} {where}, {what}." for who in WHO for where in WHERE for what in ("alone", "at noon")]
MEMBERS, NONMEMBERS, VALIDATION = TEXTS[0:64:2], TEXTS[1:64:2], TEXTS[64:]
SMALL = {
    "data": {"train": 4, "members": 4, "nonmembers": 4, "validation": 2, "max_tokens": 40},
    "methods": ["head"],
    "training": {"epochs": 1},
    "machine": {"device": "cpu"},
}
URL = "http://localhost:8000/v1"
PROGRAMS = {
    "byheart": "parsed by the command line itself",
    "make": "its target is in the Makefile",
    "python": "its script is there, or its module is named here",
    "pip": "installs what is named",
    "source": "steps into the virtual environment",
    "mkdir": "makes the folder that the next line names",
    "tar": "its archive is there, and is unpacked by test_real_study_page.py",
    "ray": "starts a node of a cluster",
    "accelerate": "starts the processes of a launch of byheart",
    "torchrun": "starts the processes that share a model",
}
"""What a page may ask a reader to type, and how that is known to be right."""
MODULES = {"pytest", "llama_cpp.server"}  # the second is a server that readers of its tutorial compile


def opened(folder):
    return {"model": AutoModelForCausalLM.from_pretrained(folder), "tokenizer": AutoTokenizer.from_pretrained(folder)}


def of_the_readme(folder, here):
    (here / "my-model").symlink_to(folder)
    (here / "studies").mkdir()
    (here / "studies" / "quickstart.yaml").write_text(json.dumps({"models": str(folder), **SMALL}))
    return {}


def of_the_report(folder, here):
    byheart.run({"name": "quickstart", "models": str(folder), **SMALL}, store=here / "store")
    return {}


def of_an_audit(folder, here):
    return {**opened(folder), "members": MEMBERS, "nonmembers": NONMEMBERS}


def of_generated_texts(folder, here):
    reference = [f"Entirely other words, of number {i}." for i in range(30)]
    return {"generated": MEMBERS + VALIDATION, "members": MEMBERS, "nonmembers": NONMEMBERS, "reference": reference}


def of_given_scores(folder, here):
    """Records with scores, and a result file as MIMIR writes it: lower scores of members, and each text as a list of its parts."""
    classes = {"member": MEMBERS, "nonmember": NONMEMBERS}
    scores = {part: [i + 0.5 * (part == "nonmember") for i in range(len(texts))] for part, texts in classes.items()}
    written = {"predictions": scores, "raw_results": {part: [[t] for t in texts] for part, texts in classes.items()}}
    (here / "loss_results.json").write_text(json.dumps(written))
    members, nonmembers = (
        [{"text": t, "loss": -s, "ratio": s} for t, s in zip(texts, scores[part], strict=True)]
        for part, texts in classes.items()
    )
    return {"members": members, "nonmembers": nonmembers}


def of_a_training(folder, here):
    args = SFTConfig(
        output_dir=str(here / "trained"), num_train_epochs=1, per_device_train_batch_size=8, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, bf16=False, max_length=32,
    )  # fmt: skip
    stored = opened(folder)
    stored["tokenizer"].pad_token = stored["tokenizer"].eos_token
    texts = {"members": MEMBERS, "nonmembers": NONMEMBERS, "validation": VALIDATION}
    return {**stored, **texts, "args": args, "train_dataset": Dataset.from_dict({"text": MEMBERS})}


def of_planted_canaries(folder, here):
    stored = of_a_training(folder, here)
    base = AutoModelForCausalLM.from_pretrained(folder)
    return {**stored, "dataset": stored["train_dataset"], "base": base}


def of_a_stored_study(folder, here):
    assert not byheart.run(lora_study(folder, methods=["head"], attacks=["loss"]), store=here / "store").failed
    return {}


SIZES = {"train": 8, "members": 6, "nonmembers": 6, "validation": 4, "max_tokens": 30}


def of_an_exported_study(folder, here):
    texts = [*MEMBERS, *NONMEMBERS, *VALIDATION]
    lines = (json.dumps({"id": f"case-{i}", "text": text}) for i, text in enumerate(texts))
    (here / "texts.jsonl").write_text("\n".join(lines))
    study = lora_study(folder, methods=["head"], attacks=["loss"], data={**SIZES, "near_duplicate": 1})
    study |= {"name": "mine", "datasets": [{"files": {"path": str(here / "texts.jsonl"), "id": "id"}}]}
    assert not byheart.run(study, store=here / "store").failed
    store = Store.open(here / "store")
    export_folder(store, "mine", here / "mine")
    (cell,) = store.keys("training")
    return {"base": str(folder), "cell": cell}


GRANTED = {
    "docs/faq.md": of_an_exported_study,
    "docs/scale.md": of_a_stored_study,
    "docs/canaries.md": of_planted_canaries,
    "README.md": of_the_readme,
    "docs/report.md": of_the_report,
    "docs/tutorials/audit.md": of_an_audit,
    "docs/tutorials/generated.md": of_generated_texts,
    "docs/tutorials/scores.md": of_given_scores,
    "docs/tutorials/watch_training.md": of_a_training,
}


def as_the_readme_says(names, here):
    results, scores = names["results"], names["scores"]
    assert results.failed == ()
    last = results.rows[-1]
    assert (last.method, last.epoch) == ("head", 1)
    assert str(results).startswith(f"Results({len(results.rows)} rows of 1 cells, 0 failed")
    assert len(scores) == 2
    stats = names["stats"]
    for i, score in enumerate(scores):
        own = np.sort(stats.logp[stats.starts[i] : stats.starts[i + 1]])
        assert score == pytest.approx(own[: max(1, int(0.2 * len(own)))].mean(), rel=1e-5)


def as_the_report_says(names, here):
    assert (here / "trajectory.pdf").read_bytes().startswith(b"%PDF-")
    assert names["figure"].spec()["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    points = names["figure"].data["points"]
    points = [p for p in points if (p["attack"], p["metric"], p["epoch"]) == ("Min-K%", "ROC AUC", 1)]
    (row,) = (
        r
        for r in study_rows(Store.open(here / "store"), "quickstart")
        if (r.attack, r.metric, r.epoch) == ("min_k", "auc", 1)
    )
    assert [p["value"] for p in points] == [pytest.approx(row.value)]


def as_the_audit_says(names, here):
    assert {"report.html", "rows.json", "exposed.csv"} <= {p.name for p in (here / "audited").iterdir()}
    behind = names["audit"]  # the later one, of the server
    assert set(behind.scores) == {1}
    assert sum(behind.record_labels.membership) == len(MEMBERS)


def as_the_generated_texts_say(names, _):
    assert set(names["audit"].scores[1]) == {*SYNTHETIC_ATTACKS, *CALIBRATED_SYNTHETIC_ATTACKS}


def as_the_scores_say(names, _):
    audit = names["audit"]
    members, nonmembers = (names["found"]["predictions"][part] for part in ("member", "nonmember"))
    (auc,) = (r.value for r in audit.rows if (r.metric, r.epoch) == ("auc", 1))
    assert auc == pytest.approx(np.less.outer(members, nonmembers).mean())
    assert list(audit.texts.scored[: len(MEMBERS)]) == list(MEMBERS)


def as_the_training_says(names, _):
    watch = names["watch"]
    assert [look.epoch for look in watch.evaluations] == [0, 1]
    stored = names["trainer"].state.log_history
    for look, logged in zip(watch.evaluations, (h for h in stored if "eval_memorization/auc/loss" in h), strict=True):
        assert logged["eval_memorization/auc/loss"] == look.value("auc", "loss")
        assert logged["eval_memorization/perplexity"] == look.value("perplexity")


def as_the_canaries_say(names, here):
    assert {"report.html", "rows.json"} <= {p.name for p in (here / "audit").iterdir()}
    measured = {row.metric for row in names["audit"].rows}
    assert {"exposure", "held_out_exposure", "canary_tpr", "epsilon_lower_bound"} <= measured


def as_the_scale_says(names, here):
    assert [s.state for s in names["states"]] == ["done"]
    assert names["outcome"].rows
    assert not names["outcome"].error


def as_the_faq_says(names, here):
    store = Store.open(here / "store")
    (key,) = {r.scores for r in study_rows(store) if r.metric == "auc" and r.epoch == 2}
    audited = score_reader(store)(key)
    texts = [json.loads(line) for line in (here / "texts.jsonl").read_text().splitlines()]
    for part, is_member in (("members", True), ("nonmembers", False)):
        written = [json.loads(line) for line in (here / f"{part}.jsonl").read_text().splitlines()]
        assert len(written) == 6
        assert {r["id"] for r in written} == {
            i for i, m in zip(audited.ids, audited.members, strict=True) if m == is_member
        }
        assert all(record in texts for record in written)
    records = {record["id"]: record["text"] for record in texts}
    export_model(store, here / "my-head", tell=lambda _: None)  # `byheart model` of the page
    head_tuned = load(str(here / "my-head"))
    tokens = tokenize(head_tuned.tokenizer, texts_of([records[i] for i in audited.ids]), 30)
    stats = token_stats(head_tuned, tokens)
    assert ragged.means(stats.logp, stats.starts) == pytest.approx(audited.scores, abs=1e-5)


FOUND = {
    "docs/faq.md": as_the_faq_says,
    "docs/scale.md": as_the_scale_says,
    "docs/canaries.md": as_the_canaries_say,
    "README.md": as_the_readme_says,
    "docs/report.md": as_the_report_says,
    "docs/tutorials/audit.md": as_the_audit_says,
    "docs/tutorials/generated.md": as_the_generated_texts_say,
    "docs/tutorials/scores.md": as_the_scores_say,
    "docs/tutorials/watch_training.md": as_the_training_says,
}


@contextmanager
def served(folder):
    """Start a stand-in for the server of a page; return a function that replaces the server's address."""
    with StandIn({"my-model": str(folder)}) as server:
        yield lambda code: code.replace(URL, server.url)


@pytest.fixture
def shelved(tmp_path, monkeypatch):
    """A function that adds the files of a page to their shelves for one test, and returns them as (shelf, name)."""

    def put(page):
        found = []
        for block in blocks(page, "python"):
            if not block.title:
                continue
            assert block.title.startswith("src/byheart/"), f"{block.title} is no file of a shelf"
            where, file = block.title.removeprefix("src/byheart/").split("/")
            folder = tmp_path / "shelves" / where
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(block.text)
            package = importlib.import_module(f"byheart.{where}")
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
            found.append((where, file.removesuffix(".py")))
            monkeypatch.delitem(sys.modules, f"byheart.{where}.{found[-1][1]}", raising=False)
        importlib.invalidate_caches()
        return found

    return put


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
@pytest.mark.filterwarnings("ignore::byheart.auditing.training.callback.MemorizationWarning")
def test_the_python_of_a_page_runs(page, tiny_folder, tmp_path, monkeypatch):
    """Run the blocks in order in one namespace, as a reader would."""
    monkeypatch.chdir(tmp_path)
    folder = tiny_folder("llama")
    code = [block.text for block in blocks(page, "python")]
    names = GRANTED.get(name(page), lambda *_: {})(folder, tmp_path)
    with served(folder) if any(URL in text for text in code) else nullcontext(str) as turned:
        for number, text in enumerate(code, 1):
            exec(compile(turned(text), f"{name(page)}, block {number}", "exec", dont_inherit=True), names)  # noqa: S102
    if any(not block.title for block in blocks(page, "python")):
        FOUND[name(page)](names, tmp_path)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=name)
def test_the_yaml_of_a_page_is_a_study(page, shelved, tmp_path):
    """Published values are read from the CSV block of the page."""
    shelved(page)
    tables = iter(blocks(page, "csv"))
    for block in blocks(page, "yaml"):
        values = {"models": "some/model", **YAML(typ="safe", pure=True).load(block.text)}
        if "published" in values:
            (tmp_path / values["published"]).write_text(next(tables).text)
        study = parse_study(values, folder=tmp_path)
        assert study.cells
        if "published" in values:
            written = list(csv.DictReader((tmp_path / values["published"]).read_text().splitlines()))
            assert [str(p.value) for p in study.published] == [row["value"] for row in written]
            assert [(p.dataset, p.method, p.source) for p in study.published] == [
                (row["dataset"], row["method"], row["source"]) for row in written
            ]
        for setting, stored in (("attacks", study.attacks), ("metrics", study.metrics)):
            if setting in values:
                names = [next(iter(v)) if isinstance(v, dict) else v for v in values[setting]]
                assert list(dict.fromkeys(c.name for c in stored)) == list(dict.fromkeys(names))
        if "epochs" in values.get("training", {}):
            assert {c.training.epochs for c in study.cells} == {values["training"]["epochs"]}
    assert not list(tables), "a CSV that no study names"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sh")], ids=name)
def test_the_commands_of_a_page_are_known(page):
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in lines(page):
        program, *words = shlex.split(line, comments=True)
        assert program in PROGRAMS, (
            f"{name(page)}: no test knows {program!r}; write it into PROGRAMS, and how it is right"
        )
        if program == "make":
            assert words[0] in targets, line
        if program == "tar":
            assert (ROOT / words[1]).is_file(), line
        if program == "python":
            assert words[1] in MODULES if words[0] == "-m" else (ROOT / words[0]).is_file(), line


def test_code_is_in_languages_that_are_tested():
    """Blocks in other languages would not be tested; the graph of packages is compared with the imports."""
    for page in PAGES:
        reported = re.findall(r"^```(\S+)", page.read_text(), re.MULTILINE)
        assert set(reported) <= {
            "python",
            "yaml",
            "csv",
            "sh",
            "text",
            *(["mermaid"] if page.name == "architecture.md" else []),
        }, name(page)


def test_the_contributors_files_work_as_one_study(tiny_folder, tmp_path, shelved):
    page = DOCS / "contributing.md"
    files = dict(shelved(page))
    assert set(files) == set(registry.SHELVES)
    for where, entry in files.items():
        assert registry.summary(registry.load_function(where, entry)).endswith(".")
        assert len(registry.module_docstring(registry.load_function(where, entry))) > 50
    (own,) = blocks(page, "yaml")
    requested = YAML(typ="safe", pure=True).load(own.text)
    store = tmp_path / "store"
    results = byheart.run({**requested, "models": str(tiny_folder("llama")), "machine": {"device": "cpu"}}, store=store)
    assert not results.failed, results.failed
    rows = results.rows
    shares = {r.attack_settings for r in rows if r.attack == files["attacks"] and r.metric == "auc"}
    assert shares == {"", "share=0.3"}
    assert {r.epoch for r in rows if r.metric == files["metrics"]} == {0, 1, 2}
    trained = {r.value for r in rows if r.metric == "trained_parameters"}
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    assert trained == {sum(p.numel() for p in model.parameters() if p.ndim == 1)}
    written = report_page(Store.open(store), requested["name"], tmp_path / "own.html").read_text()
    assert "Best epochs" in written
    assert "Training and validation perplexity" in written


def test_the_contributors_observation_serves_an_attack(tiny_folder, tmp_path, shelved, monkeypatch):
    """At temperature 1 an attack on it is LOSS; at another temperature its scores differ."""
    assert "softened" in dict(shelved(DOCS / "contributing.md")).values()
    (tmp_path / "reads_softened.py").write_text(
        "from byheart.core import LogProbs, Scores, ragged\n\n\n"
        "def mean_softened(softened: LogProbs) -> Scores:\n"
        '    """Mean log-probability (nats); higher means member."""\n'
        "    return ragged.means(softened.logp, softened.starts)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = {"name": "softened", "models": str(tiny_folder("llama")), **SMALL, "metrics": ["auc"]}
    own["attacks"] = ["loss", "reads_softened:mean_softened"]
    found = []
    for temperature in (1.0, 3.0):
        observations = [{"softened": {"temperature": temperature}}]
        results = byheart.run({**own, "observations": observations}, store=tmp_path / "store")
        assert not results.failed, results.failed
        read = score_reader(Store.open(tmp_path / "store"))
        trained = [r for r in results.rows if r.metric == "auc" and r.epoch == 1]
        assert len(trained) == 2
        found.append([read(r.scores).scores for r in sorted(trained, key=lambda r: r.attack != "loss")])
    (loss, one), (again, three) = found
    np.testing.assert_allclose(one, loss, atol=1e-5)
    np.testing.assert_array_equal(loss, again)
    assert np.abs(three - loss).max() > 1e-4
