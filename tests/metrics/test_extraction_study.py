"""Extraction in studies and audits."""

import json

import numpy as np
import pytest

import byheart
from byheart.core.errors import SettingError
from byheart.core.registry import choose
from byheart.store.rows import score_reader
from byheart.store.store import Store
from byheart.study.study_report import report_content
from byheart.tables.extraction import extraction
from byheart.tables.extraction_curve import extraction_curve
from testing.tiny_models import memorize

EPOCHS = 20
ATTACKS = ["loss", "discoverable", {"approximate": {"by": ["bleu", "edit"]}}, {"probabilistic": {"n": 10}}]


def content(folder, path, **changes):
    return {
        "name": "recited",
        "models": str(folder),
        "datasets": [{"files": {"path": str(path)}}],
        "data": {
            "train": 12,
            "members": 12,
            "nonmembers": 12,
            "validation": 5,
            "max_tokens": 100,
            "near_duplicate": 1.0,
        },
        "methods": ["full"],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.003},
        "attacks": ATTACKS,
        **changes,
    }


def written_texts(path):
    """Each text ends in unique words, because repeated words are easy to generate."""
    chance = np.random.default_rng(0)
    words = [
        "sailor",
        "doctor",
        "queen",
        "judge",
        "painter",
        "clerk",
        "Oslo",
        "Lima",
        "Cairo",
        "letters",
        "nurse",
        "pilot",
    ]
    rows = [{"id": str(i), "text": f"{i} wrote: {' '.join(chance.permutation(words)[:9])}"} for i in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def overfitted(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("overfitted")
    requested = content(
        tiny_folder("llama"),
        written_texts(folder / "texts.jsonl"),
        training={"epochs": EPOCHS, "batch_size": 1, "learning_rate": 0.005, "schedule": "linear", "warmup": 0.1},
        observations=[{"prefix_suffix_split": {"suffix": 12}}],
    )
    store = Store.open(folder / "store")
    return store, byheart.run(requested, store=store)


def of(results, metric, attack, epoch):
    return next(r for r in results.rows if (r.metric, r.attack, r.attack_settings, r.epoch) == (metric, *attack, epoch))


def test_a_model_emits_only_texts_that_it_was_trained_on(overfitted):
    _, results = overfitted
    assert not results.failed, results.failed
    for attack in (("discoverable", ""), ("approximate", ""), ("approximate", "by=edit"), ("probabilistic", "n=10")):
        rate, others, before = (
            of(results, m, attack, e).value
            for m, e in (("extraction_rate", EPOCHS), ("extraction_rate_nonmembers", EPOCHS), ("extraction_rate", 0))
        )
        assert rate > 0.8, attack
        assert others == before == 0, attack
        assert of(results, "extraction_excess", attack, EPOCHS).low > 0.4
        assert of(results, "auc", attack, EPOCHS).value > 0.9
        assert of(results, "seconds", attack, EPOCHS).value > 0
        assert of(results, "passes", attack, EPOCHS).value == 1


def test_extraction_metrics_apply_only_to_extraction_attacks(overfitted):
    _, results = overfitted
    measured = {r.attack for r in results.rows if r.metric.startswith("extraction")}
    assert measured == {"discoverable", "approximate", "probabilistic"}
    assert any(r.attack == "loss" and r.metric == "auc" for r in results.rows)


def test_stored_scores_contain_the_extractions(overfitted):
    store, results = overfitted
    look_up = score_reader(store)
    stored = look_up(of(results, "extraction_rate", ("discoverable", ""), EPOCHS).scores)
    assert stored.extracted[stored.members].mean() == of(results, "extraction_rate", ("discoverable", ""), EPOCHS).value
    assert set(stored.tokens.tolist()) <= set(range(1, 13))
    assert look_up(of(results, "auc", ("loss", ""), EPOCHS).scores).extracted is None


def test_the_table_shows_both_controls_and_the_excess(overfitted):
    store, results = overfitted
    table = extraction(results.rows, score_reader(store))
    lines = {row[table.header.index("attack")]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert list(lines) == ["Discoverable", "Approximate", "Approximate by=edit", "(n, p)-discoverable"]
    line = lines["Discoverable"]
    now = of(results, "extraction_rate", ("discoverable", ""), EPOCHS)
    assert line["members"] == f"{now.value:.3f} [{now.low:.3f}, {now.high:.3f}]"
    assert line["non-members"].startswith("0.000 [0.000, ")
    assert line["members, base model"].startswith("0.000 [0.000, ")
    for column in ("excess over non-members", "excess over both"):
        assert line[column].startswith(f"{now.value:.3f} [")
    assert "12" in table.note
    every = extraction(results.rows, score_reader(store), each=True)
    assert len(every.rows) == EPOCHS * 4
    rates = [float(r[-5].split()[0]) for r in every.rows if r[-7] == "Discoverable"]
    assert rates[0] < rates[-1]


def test_the_curve_rises_with_the_number_of_samples(overfitted):
    store, results = overfitted
    table = extraction_curve(results.rows, score_reader(store))
    assert {row[2] for row in table.rows} == {"0.1", "0.5", "0.9"}
    for row in table.rows:
        shares = [float(cell.split()[0]) for cell in row[4:]]
        assert shares == sorted(shares)
    members = next(row for row in table.rows if row[2:4] == ("0.5", "members"))
    stored = score_reader(store)(of(results, "extraction_rate", ("probabilistic", "n=10"), EPOCHS).scores)
    ten = np.mean([1 - (1 - s) ** 10 >= 0.5 for s in stored.scores[stored.members]])
    assert float(members[5].split()[0]) == pytest.approx(ten, abs=5e-4)


def test_the_report_shows_both_tables(overfitted):
    from byheart.report.exhibits import make_tables

    store, _ = overfitted
    made = make_tables(report_content(store, "recited"))
    assert {"extraction", "extraction_curve"} <= set(made)
    assert not any("metric=extraction" in name for name in made)


def test_a_prefix_without_a_suffix_raises_an_error_before_training(tiny_folder, tmp_path):
    requested = content(
        tiny_folder("llama"),
        written_texts(tmp_path / "t.jsonl"),
        observations=[{"prefix_suffix_split": {"prefix": 90}}],
    )
    store = Store.open(tmp_path / "store")
    results = byheart.run(requested, store=store)
    assert "prefix_suffix_split: prefix = 90" in results.failed[0].error
    assert not list((tmp_path / "store").glob("training/*"))
    with pytest.raises(SettingError, match="observations prefix_suffix_split: prefix"):
        choose("observations", "prefix_suffix_split", {"prefix": 0})


@pytest.mark.parametrize("method", ["prompt", "prefix", "p_tuning"])
def test_prompts_and_completions_with_virtual_tokens(tiny_folder, tmp_path, method, sentences):
    rows = [{"id": str(i), "prompt": f"Number {i}:", "completion": f" {s} ({i * 37})"} for i, s in enumerate(sentences)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    requested = content(
        tiny_folder("gemma"),
        tmp_path / "pairs.jsonl",
        data={"train": 8, "members": 8, "nonmembers": 8, "validation": 4, "max_tokens": 60, "near_duplicate": 1.0},
        methods=[method],
        training={"epochs": 1, "batch_size": 4},
        attacks=["discoverable", "probabilistic"],
    )
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    assert {r.epoch for r in results.rows if r.metric == "extraction_rate"} == {0, 1}


@pytest.fixture(scope="module")
def audited(tiny_folder, tmp_path_factory):
    """An audit of a model that memorized its texts, with its base."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [
        json.loads(line)
        for line in written_texts(tmp_path_factory.mktemp("audited") / "t.jsonl").read_text().splitlines()
    ]
    strings = [r["text"] for r in rows]
    base, model = (AutoModelForCausalLM.from_pretrained(tiny_folder("llama")) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("llama"))
    memorize(model, tokenizer, strings[:20], passes=30)
    attacks = ["loss", "discoverable", {"probabilistic": {"n": 10}}]
    found = byheart.audit(model, tokenizer, strings[:20], strings[20:], base=base, attacks=attacks)
    return found, (model, tokenizer, strings)


def test_an_audit_reports_extractions_and_judges_by_membership_attacks(audited):
    found, _ = audited
    assert "discoverable" not in found.verdict
    assert found.ruling.attack == found.attack == "loss"
    assert {r.attack for r in found.rows if r.metric == "auc"} == {"loss"}
    rates = {(r.attack, r.epoch): r.value for r in found.rows if r.metric == "extraction_rate"}
    assert rates["discoverable", 1] > 0.5
    assert rates["discoverable", 0] == 0
    attacks, recited = found.tables()
    assert [line[0] for line in attacks.rows] == ["loss"]
    assert [line[recited.header.index("attack")] for line in recited.rows] == [
        "Discoverable",
        "(n, p)-discoverable",
    ]
    for spelled in (found.text(), found.markdown(), found.html()):
        assert "Share of texts that attacks extract" in spelled or "non-members" in spelled
        assert "Discoverable" in spelled


def test_a_saved_audit_contains_its_extractions(audited, tmp_path):
    from pyarrow import parquet

    found, _ = audited
    found.save(tmp_path / "audit")
    columns = parquet.read_table(tmp_path / "audit" / "scores.parquet").column_names
    assert {"loss", "discoverable", "base/discoverable"} <= set(columns)
    assert "Share of texts that attacks extract" in (tmp_path / "audit" / "report.html").read_text()


def test_an_audit_requires_a_membership_attack(audited):
    _, (model, tokenizer, strings) = audited
    with pytest.raises(SettingError, match="loss"):
        byheart.audit(model, tokenizer, strings[:20], strings[20:], attacks=["discoverable"])
