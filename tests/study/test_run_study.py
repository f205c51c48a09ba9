"""Studies on a tiny model from file to rows: complete, resumed, repeated, failed, and extended by new entries."""

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest

import byheart
from byheart.cli.main import main
from byheart.core import registry
from byheart.core.errors import DataError, StoreError
from byheart.store.result_files import read_arrays
from byheart.store.rows import read_gates, score_reader, study_rows, validation_loss_reader
from byheart.store.run_info import run_details
from byheart.store.store import Store
from byheart.study import train_and_observe
from byheart.study.plan import plan
from byheart.study.study_file import parse_study as parsed
from testing.stores import lora_study

DATA = lora_study("")["data"]


@pytest.fixture(scope="module")
def done(lora_store, tmp_path_factory):
    """A finished study: its store, and the results of a second run that computed nothing."""
    store = lora_store.copied(tmp_path_factory.mktemp("done") / "store")
    return store, byheart.run(lora_store.content, store=store)


def test_rows_carry_every_label_and_epoch(done):
    store, results = done
    assert not results.failed
    rows = study_rows(store, "tiny")
    assert rows == list(results.rows)
    aucs = [r for r in rows if r.metric == "auc"]
    assert {(r.method, r.epoch, r.attack) for r in aucs} == {
        (m, e, a)
        for m in ("lora", "head")
        for e in (0, 1, 2)
        for a in ("loss", "reference", "zlib_ratio", "min_k", "min_k_plus_plus")
    }
    assert {(r.members, r.nonmembers) for r in aucs} == {(10, 12)}
    assert all(r.low <= r.value <= r.high for r in aucs)
    costs = {(r.metric, r.attack): r.value for r in rows if r.epoch == 2 and r.method == "lora" and r.attack}
    assert (costs["passes", "loss"], costs["passes", "reference"]) == (1, 2)
    assert 0 < costs["seconds", "loss"] < costs["seconds", "reference"]
    facts = {r.metric: r.value for r in rows if r.method == "head" and r.epoch is None}
    assert facts["train_texts"] == 12
    assert facts["trained_parameters"] == 300 * 32
    assert facts["max_tokens"] == 60


def test_finished_cells_are_reported_before_the_others_end(tiny_folder, tmp_path):
    store = Store.open(tmp_path)

    def stop(outcome):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        byheart.run(lora_study(tiny_folder("llama")), store=store, finished=stop)
    assert {r.method for r in study_rows(store, "tiny")} == {"lora"}
    assert run_details(store, "tiny")["study tiny"].startswith("1 of 2 cells ")


def test_a_study_without_a_finished_cell_raises_an_error(tiny_folder, tmp_path):
    store = Store.open(tmp_path)

    def stop(event):
        if "trained" in event.text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        byheart.run(lora_study(tiny_folder("llama")), store=store, tell=stop)
    with pytest.raises(StoreError, match=r"no cell .*\btiny\b|\btiny\b.*no cell"):
        study_rows(store, "tiny")


def test_epoch_0_is_the_base_model_for_every_method(done):
    _, results = done
    base = {r.value for r in results.rows if r.metric == "perplexity" and r.epoch == 0}
    assert len(base) == 1
    reference = [r for r in results.rows if r.attack == "reference" and r.epoch == 0 and r.metric == "auc"]
    assert {r.value for r in reference} == {0.5}


def test_scores_can_be_looked_up_and_give_the_row(done):
    from sklearn.metrics import roc_auc_score

    store, results = done
    row = next(r for r in results.rows if r.metric == "auc" and r.attack == "loss" and r.epoch == 2)
    found = score_reader(store)(row.scores)
    assert roc_auc_score(found.members, found.scores) == pytest.approx(row.value)


def test_scores_are_stored_with_groups_and_read_from_old_stores_without(done, tmp_path):
    store, results = done
    row = next(r for r in results.rows if r.metric == "auc")
    found = score_reader(store)(row.scores)
    assert len(found.groups) == len(found.ids) == len(found.scores)
    old = Store.open(tmp_path / "old")
    folder = old.folder("scores", row.scores)
    folder.mkdir(parents=True)
    stored = read_arrays(store.folder("scores", row.scores))
    np.savez(folder / "arrays.npz", **{n: a for n, a in stored.items() if n != "groups"})
    assert score_reader(old)(row.scores).groups == ()


def test_the_split_is_checked_before_training_and_the_gate_is_stored(done, tiny_folder, monkeypatch):
    store, results = done
    kept = read_gates(store, "tiny")
    assert set(kept) == {(r.dataset, r.dataset_settings) for r in results.rows}
    (gate,) = kept.values()
    assert (gate.members, gate.nonmembers) == (10, 12)
    assert any(f.name == "blind: words" for f in gate.findings)
    monkeypatch.setattr("byheart.study.split_checks.gate", lambda *_, **__: pytest.fail("judged twice"))
    byheart.run(lora_study(tiny_folder("llama")), store=store)


def test_too_few_records_for_the_split_check_are_doubtful_and_the_study_continues(tiny_folder, tmp_path):
    few = {**DATA, "members": 5, "nonmembers": 5}
    results = byheart.run(lora_study(tiny_folder("llama"), data=few, methods=["head"]), store=tmp_path)
    assert not results.failed
    (gate,) = read_gates(Store.open(tmp_path)).values()
    assert gate.verdict == "doubtful"
    assert gate.findings[0].found == "not checked"
    assert gate.reasons == (
        (
            "the split was not checked: 5 members of 5 groups are too few for cross-validation. Pass at least 10 groups each of members "
            "and non-members."
        ),
    )


def test_the_losses_of_each_perplexity_are_read(done):
    store, results = done
    look_up = validation_loss_reader(store, "tiny")
    rows = [r for r in results.rows if r.metric == "perplexity"]
    assert len(rows) == 6
    for row in rows:
        losses = look_up(row)
        assert len(losses.nats) == 6
        assert np.exp(losses.nats.sum() / losses.tokens.sum()) == pytest.approx(row.value)
    assert look_up(dataclasses.replace(rows[0], value=rows[0].value * 1.01)) is None


def test_a_second_run_computes_nothing_and_loads_no_model(done, tiny_folder, monkeypatch):
    store, results = done
    monkeypatch.setattr(train_and_observe, "observe", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr("byheart.study.run_cell.observe", lambda *_: pytest.fail("a model was loaded"))
    again = byheart.run(lora_study(tiny_folder("llama")), store=store)
    assert again.rows == results.rows


def test_a_new_attack_over_known_evidence_loads_no_model(done, tiny_folder, monkeypatch):
    store, _ = done
    monkeypatch.setattr("byheart.study.run_cell.observe", lambda *_: pytest.fail("a model was loaded"))
    more = byheart.run(
        lora_study(tiny_folder("llama"), name="more", attacks=[{"min_k": {"k": 0.5}}, "loss"]), store=store
    )
    assert {r.attack_settings for r in more.rows if r.attack == "min_k"} == {"k=0.5"}


def test_the_base_is_scored_once_for_all_methods_and_epochs(done):
    store, _ = done
    bases = [json.loads(p.read_text())["recipe"] for p in (store.root / "evidence").glob("*/recipe.json")]
    assert sum(r["observation"]["name"] == "base" for r in bases) == 1
    assert sum(r["observation"]["name"] == "target" for r in bases) == 4
    assert (
        sum(
            r["inputs"].get("model") == {"base": bases[0]["inputs"].get("base", r["inputs"]["model"].get("base"))}
            for r in bases
            if r["observation"]["name"] == "validation"
        )
        == 1
    )


def test_checkpoints_contain_no_pickle_and_load_in_other_libraries(done, tiny_folder):
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    store, _ = done
    assert {p.suffix for p in store.root.rglob("*") if p.is_file()} <= {".json", ".npz", ".safetensors", ".lock", ".md"}
    folders = list((store.root / "training").iterdir())
    adapters = [f / "adapter" for f in folders if (f / "adapter").exists()]
    heads = [f / "trained.safetensors" for f in folders if (f / "trained.safetensors").exists()]
    assert len(adapters) == len(heads) == 1
    full = byheart.run(
        lora_study(tiny_folder("llama"), name="full", methods=["full"], training={"epochs": 1}), store=store
    )
    AutoModelForCausalLM.from_pretrained(store.folder("training", full.rows[0].cell) / "model")
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder("llama")), adapters[0])
    assert set(load_file(heads[0])) == {"lm_head.weight"}
    assert not list((store.root / "states").glob("*/*")), "states are for resuming only"


def test_a_failed_cell_is_reported_and_the_others_are_stored(tiny_folder, tmp_path):
    values = lora_study(
        tiny_folder("llama"), methods=["head", {"full": {"learning_rate": 1e30}}], training={"epochs": 2, "warmup": 0}
    )
    results = byheart.run(values, store=tmp_path)
    assert [o.cell.split(" ")[0] for o in results.failed] == ["full"]
    assert all(words in results.failed[0].error for words in ("epoch 1, step 2 of 2", "learning_rate"))
    assert {r.method for r in study_rows(Store.open(tmp_path))} == {"head"}


def test_metrics_that_cannot_be_measured_are_refused_before_training(tiny_folder, tmp_path):
    with pytest.raises(DataError, match="non-members"):
        plan(parsed(lora_study(tiny_folder("llama"), metrics=[{"tpr_at_fpr": {"fpr": 0.01}}])), Store.open(tmp_path))
    assert not (tmp_path / "training").exists()


def test_texts_longer_than_the_context_are_refused_with_the_fix(tiny_folder, tmp_path):
    methods = [{"prompt": {"virtual_tokens": 100}}]
    results = byheart.run(
        lora_study(tiny_folder("llama"), data={**DATA, "max_tokens": 120}, methods=methods), store=tmp_path
    )
    assert results.failed[0].error.endswith("Set data.max_tokens to 28 or fewer.")


def test_truncation_is_a_row(tiny_folder, tmp_path):
    results = byheart.run(
        lora_study(tiny_folder("llama"), data={**DATA, "max_tokens": 20}, methods=["head"]), store=tmp_path
    )
    cut = {r.metric: r.value for r in results.rows if r.epoch is None}["truncated_texts"]
    assert cut == 12 + 12 + 6


def test_a_new_observation_of_a_finished_cell_trains_again(done, tiny_folder, tmp_path):
    """An observation added later gives the same numbers as in the first run."""
    store, results = done
    copy = tmp_path / "copy"
    shutil.copytree(store.root, copy)
    for place in (copy / "evidence").glob("*/recipe.json"):
        if json.loads(place.read_text())["recipe"]["observation"]["name"] == "validation":
            shutil.rmtree(place.parent)
    shutil.rmtree(copy / "rows")
    again = byheart.run(lora_study(tiny_folder("llama")), store=copy)
    assert again.rows == results.rows


def test_a_run_prints_the_split_checks_verdict(done, tiny_folder, tmp_path, monkeypatch, capsys):
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(lora_study(tiny_folder("llama"))))
    monkeypatch.setattr(sys, "argv", ["byheart", "run", str(path), "--store", str(done[0].root)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    output = capsys.readouterr().out
    lines = [line for line in output.splitlines() if line.startswith("split check, records: ")]
    assert len(lines) == 1
    assert lines[0].split(": ")[1].split(" ")[0] in {"sound", "doubtful", "broken"}


def test_evidence_of_a_worker_is_float32_and_complete(done):
    store, _ = done
    for folder in (store.root / "evidence").iterdir():
        arrays = read_arrays(folder)
        assert arrays["logp"].dtype == np.float32
        assert np.isfinite(arrays["logp"]).all()


def test_metrics_get_labels_and_attacks_do_not():
    """Membership labels reach metrics only, so that no attack can read them."""
    labeled = {"membership", "groups", "train", "nonmember"}
    for name in registry.entry_names("attacks"):
        assert not labeled & set(registry.needs(registry.load_function("attacks", name)))
    assert {f.name for f in dataclasses.fields(byheart.Texts)} == {"ids", "scored", "prompts", "chats", "rejected"}
