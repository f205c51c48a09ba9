"""States inside epochs and initialized methods: observed on request or where they differ, without other keys or weights."""

import dataclasses
import itertools
import json

import pytest

import byheart
from byheart.analysis.matched_utility import BootstrapDraws, auc_draws_at_level, paths_by_attack_and_method
from byheart.core.config import Training
from byheart.core.errors import SettingError
from byheart.core.types import Row
from byheart.store.result_files import read_json
from byheart.store.rows import read_rows, study_rows, validation_loss_reader
from byheart.store.store import Store
from byheart.study import train_and_observe
from byheart.study.estimate import cell_estimates
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import BASE, INITIALIZED, ModelState, epochs_by_step
from byheart.study.plan import plan_cells
from byheart.study.shadow_models import shadow_cells
from byheart.study.study_file import parse_study
from byheart.study.study_report import report_content
from testing.stores import lora_study

OBSERVED = [0.3, 1.6]
"""Of 12 texts in batches of 4, three steps an epoch: after steps 1, 5 and 6."""


def content(folder, **training):
    return lora_study(
        folder,
        methods=["full", "prefix"],
        training={"epochs": 2, "batch_size": 4, **training},
        attacks=["loss"],
        metrics=["auc", "perplexity"],
    )


def numbers(rows):
    return {
        (r.method, r.epoch, r.initialized, r.attack, r.metric): (r.value, r.low, r.high)
        for r in rows
        if r.metric != "seconds"
    }


@pytest.fixture(scope="module")
def requested(tiny_folder):
    return content(tiny_folder("gpt2"), observe=OBSERVED)


@pytest.fixture(scope="module")
def plain(tiny_folder, tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("plain"))
    results = byheart.run(content(tiny_folder("gpt2")), store=store)
    assert not results.failed, results.failed
    return store, results


@pytest.fixture(scope="module")
def observed(requested, tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("observed"))
    results = byheart.run(requested, store=store)
    assert not results.failed, results.failed
    return store, results


def test_an_epoch_is_a_whole_number_of_steps_and_is_observed_once():
    settings = Training(epochs=2, batch_size=4, observe=(0.01, 0.1, 0.5, 0.99, 1.5))
    assert epochs_by_step(settings, 12) == {1: 0.01, 2: 0.5, 3: 1, 4: 1.5, 6: 2}
    assert epochs_by_step(dataclasses.replace(settings, observe=(1.0,)), 12) == {3: 1, 6: 2}
    assert epochs_by_step(dataclasses.replace(settings, observe=None), 12) == {3: 1, 6: 2}
    assert [type(e) for e in epochs_by_step(settings, 12).values()] == [float, float, int, float, int]


def test_an_epoch_after_the_last_is_refused():
    with pytest.raises(SettingError, match=r"training\.observe = 3: is after the last epoch, 2"):
        parse_study({"training": {"epochs": 2, "observe": [0.5, 3]}})


def test_rows_are_of_the_requested_states_and_of_initialized_prefixes(observed, plain):
    epochs = {
        method: sorted(
            {(r.epoch, r.initialized) for r in observed[1].rows if r.method == method and r.epoch is not None}
        )
        for method in ("full", "prefix")
    }
    assert epochs["full"] == [(0, False), (0.3, False), (1.6, False), (2, False)]
    assert epochs["prefix"] == [(0, False), (0, True), (0.3, False), (1.6, False), (2, False)]
    assert json.dumps([r.epoch for r in plain[1].rows if r.metric == "auc"]) == "[0, 1, 2, 0, 0, 1, 2]"


def test_the_last_epoch_has_the_numbers_of_a_study_without_observations_inside(observed, plain):
    first, second = numbers(observed[1].rows), numbers(plain[1].rows)
    common = first.keys() & second.keys()
    assert {epoch for _, epoch, *_ in common} == {None, 0, 2}
    assert {k: first[k] for k in common} == {k: second[k] for k in common}


def test_states_are_different_models(observed):
    values = {(r.method, r.epoch, r.initialized): r.value for r in observed[1].rows if r.metric == "perplexity"}
    assert len(set(values.values())) == len(values) - 1, "both methods have one base model"
    assert values["full", 0, False] == values["prefix", 0, False]


def test_losses_of_every_state_are_read(observed):
    losses = validation_loss_reader(observed[0])
    for row in (r for r in observed[1].rows if r.metric == "perplexity"):
        assert losses(row) is not None, row


def test_a_path_starts_at_the_initialized_prefix_and_is_drawn_beside_the_base_model(observed):
    read = report_content(observed[0], None)
    paths = paths_by_attack_and_method(read.rows)["Loss"]
    assert [(p.leakage.epoch, p.leakage.initialized) for p in paths["prefix"][0]] == [
        (0, True),
        (0.3, False),
        (1.6, False),
        (2, False),
    ]
    assert paths["full"][0][0].leakage.epoch == 0
    draws = BootstrapDraws(read.scores, read.losses)
    for (path,) in paths.values():
        assert path[0].base_perplexity.epoch == 0
        assert not path[0].base_perplexity.initialized
        drawn = auc_draws_at_level(path, path[-1].perplexity.value, draws)
        assert drawn[0] == pytest.approx(path[-1].leakage.value)


def planned_of(requested, store):
    return {p.cell.method.name: p for p in plan_cells(parse_study(requested), store)}


def test_only_new_states_have_new_keys(requested, tiny_folder, plain):
    within, without = (planned_of(c, plain[0]) for c in (requested, content(tiny_folder("gpt2"))))
    for method in ("full", "prefix"):
        assert within[method].key == without[method].key
        assert within[method].recipe == without[method].recipe
        assert without[method].states == (
            BASE,
            *([INITIALIZED] if method == "prefix" else []),
            ModelState(1),
            ModelState(2),
        )
    target = within["prefix"].observation("target")
    keys = {
        evidence_key(within["prefix"], target, state) for state in (BASE, INITIALIZED, ModelState(0.3), ModelState(2))
    }
    assert len(keys) == 4
    assert within["full"].cell.label == without["full"].cell.label, "observed epochs name no model"


def test_a_store_without_the_initialized_state_is_completed_without_training(requested, plain, tmp_path, monkeypatch):
    import shutil

    written = content(requested["models"])
    store = Store.open(shutil.copytree(plain[0].root, tmp_path / "store"))
    prefix = planned_of(written, store)["prefix"]
    for observation in prefix.observations:
        store.drop("evidence", evidence_key(prefix, observation, INITIALIZED))
    monkeypatch.setattr(train_and_observe, "_train", lambda *_: pytest.fail("trained"))
    assert not byheart.run(written, store=store).failed
    assert numbers(study_rows(store)) == numbers(plain[1].rows)


def test_a_plan_counts_the_states(requested, tmp_path):
    full, prefix = cell_estimates(parse_study(requested), Store.open(tmp_path))
    assert [full.epochs_to_train, prefix.epochs_to_train] == [2, 2]
    assert prefix.observations_to_make == full.observations_to_make, (
        "the initialized prefix, the base model of the first cell"
    )


class Killed(BaseException):
    """Simulated kill; not an `Exception`, so that no handler catches it."""


@pytest.mark.parametrize("stage", ["states", "evidence"])
def test_a_run_killed_at_any_state_ends_with_the_same_rows(requested, observed, tmp_path, monkeypatch, stage):
    plain_make, kills = Store.get_or_make, []
    for _ in itertools.count():
        with monkeypatch.context() as patched:

            def get_or_make(store, name, key, recipe, make):
                is_new = not store.has(name, key)
                made = plain_make(store, name, key, recipe, make)
                if is_new and name == stage:
                    kills.append(key)
                    raise Killed
                return made

            patched.setattr(Store, "get_or_make", get_or_make)
            try:
                byheart.run(requested, store=tmp_path)
            except Killed:
                continue
        break
    assert len(kills) == {"states": 2 * len((0.3, 1, 1.6, 2)), "evidence": 16}[stage]
    assert any(key.endswith("-0.3") for key in kills) == (stage == "states")
    assert numbers(study_rows(Store.open(tmp_path))) == numbers(observed[1].rows)
    assert not list((tmp_path / "states").glob("*"))


def test_a_resumption_may_observe_other_states(requested, observed, tmp_path, monkeypatch):
    """A state stored for other observed epochs is a valid start, and no state remains."""
    kept = train_and_observe.save_state

    def cut(*reported, **named):
        kept(*reported, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(train_and_observe, "save_state", cut)
        with pytest.raises(Killed):
            byheart.run(requested, store=tmp_path)
    assert [p.name.partition("-")[2] for p in (tmp_path / "states").glob("*")] == ["0.3"]
    begun = []
    results = byheart.run(content(requested["models"]), store=tmp_path, tell=lambda event: begun.append(event.text))
    assert "resuming after epoch 0.3" in begun
    assert (
        numbers(observed[1].rows)["full", 2, False, "loss", "auc"]
        == numbers(results.rows)["full", 2, False, "loss", "auc"]
    )
    assert not list((tmp_path / "states").glob("*"))


def test_rows_of_older_stores_are_read(plain, tmp_path):
    (folder, *_) = sorted((plain[0].root / "rows").iterdir())
    older = [
        {k: v for k, v in r.items() if k not in {"initialized", "precision"}} for r in read_json(folder / "rows.json")
    ]
    (tmp_path / "rows.json").write_text(json.dumps(older))
    assert read_rows(tmp_path) == [dataclasses.replace(r, initialized=False, precision="") for r in read_rows(folder)]
    names = [f.name for f in dataclasses.fields(Row)]
    assert names.index("scores") < names.index("initialized") < names.index("precision"), (
        "columns of older rows stay first"
    )


# --- precision


def test_rows_have_the_precision_of_the_training(plain):
    store, results = plain
    facts = {read_json(folder / "facts.json")["precision"] for folder in (store.root / "training").iterdir()}
    assert {r.precision for r in results.rows} == facts
    assert facts <= {"float32", "bfloat16"}


def test_another_precision_than_that_of_the_stored_training_is_refused(requested, plain):
    store, results = plain
    used = results.rows[0].precision
    other = ({"float32", "bfloat16"} - {used}).pop()
    written = content(requested["models"])
    assert not byheart.run({**written, "machine": {"precision": used}}, store=store).failed
    refused = byheart.run({**written, "machine": {"precision": other}}, store=store)
    assert len(refused.failed) == 2
    assert (
        f"was trained in {used}, but machine.precision is {other}. Remove machine.precision" in refused.failed[0].error
    )


def test_states_that_are_added_later_have_the_precision_of_the_stored_training(requested, tmp_path):
    """`auto` depends on the processor; training that is repeated for its states must not."""
    written = content(requested["models"])
    byheart.run({**written, "machine": {"precision": "bfloat16"}}, store=tmp_path)
    results = byheart.run(requested, store=tmp_path)
    assert not results.failed
    assert {r.precision for r in results.rows} == {"bfloat16"}
    other = byheart.run({**requested, "machine": {"precision": "bfloat16"}}, store=tmp_path / "once")
    assert numbers(results.rows) == numbers(other.rows)


def test_shadow_models_are_read_at_the_states_of_their_target(tiny_folder, tmp_path):
    """Shadow models have fewer texts, so that other fractions of an epoch are whole steps."""
    written = lora_study(
        tiny_folder("llama"),
        datasets=[{"records": {"count": 140}}],
        data={"train": 32, "members": 10, "nonmembers": 12, "validation": 6, "known": 20, "max_tokens": 50},
        methods=["prompt"],
        training={"epochs": 1, "batch_size": 16, "observe": [0.3, 0.4, 0.9]},
        attacks=["lira"],
        observations=[{"shadows": {"models": 4, "rest": False}}],
        metrics=["auc"],
    )
    results = byheart.run(written, store=tmp_path)
    assert not results.failed, results.failed
    (planned,) = planned_of(written, Store.open(tmp_path)).values()
    assert {(r.epoch, r.initialized) for r in results.rows if r.metric == "auc"} == set(planned.states)
    assert {c.states for c in shadow_cells(planned)} != {planned.states}
