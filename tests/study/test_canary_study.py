"""Studies with canaries on a tiny model: insertion, evidence at every epoch, metrics, tables, and errors before training."""

import json

import numpy as np
import pytest

import byheart
from byheart.core.errors import ByheartError, DataError, SettingError
from byheart.core.registry import choose
from byheart.core.types import LogProbs
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan
from byheart.study.shadow_models import shadow_cells
from byheart.study.study_file import parse_study as parsed
from byheart.tables.exposure import exposure as exposure_table
from byheart.tables.privacy_bounds import privacy_bounds

CANARIES = {"count": 32, "repetitions": [1, 8], "kinds": ["digits", "names"], "references": 60}
DATA = {"train": 16, "members": 10, "nonmembers": 10, "validation": 6, "max_tokens": 60}
METRICS = [
    "auc",
    {"exposure": {"repeated": [1, 8], "estimate": ["sampling", "extrapolation"]}},
    "held_out_exposure",
    {"epsilon_lower_bound": {"guesses": 12, "repeated": 8}},
]


def content(folder, **changes):
    canaries = changes.pop("canaries", CANARIES)
    return {
        "name": "planted",
        "models": str(folder),
        "datasets": [{"records": {"count": 80}}],
        "data": {**DATA, "canaries": canaries, **changes.pop("data", {})},
        "methods": ["full"],
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.02},
        "attacks": ["loss"],
        "metrics": METRICS,
        **changes,
    }


@pytest.fixture(scope="module")
def done(tiny_folder, tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("store"))
    requested = content(tiny_folder("llama"))
    return store, requested, byheart.run(requested, store=store)


def values(results, metric, settings=""):
    found = {r.epoch: r for r in results.rows if (r.metric, r.metric_settings) == (metric, settings)}
    return [found[epoch] for epoch in sorted(found)]


def test_exposure_grows_with_repetitions_and_epochs_but_not_for_held_out_canaries(done):
    _, _, results = done
    assert not results.failed, results.failed
    often, once = values(results, "exposure", "repeated=8"), values(results, "exposure")
    twins = values(results, "held_out_exposure")
    assert often[0].value < often[1].value < often[2].value
    assert often[2].low > 2.5
    assert often[2].value > once[2].value + 1
    assert all(r.low < 1.44 + 0.6 and r.value < 2.5 for r in twins)
    beyond = values(results, "exposure", "estimate=extrapolation, repeated=8")
    assert beyond[2].value >= often[2].value
    assert beyond[2].high is None or beyond[2].high >= beyond[2].value


def test_the_bound_is_zero_before_training_and_positive_after(done):
    bound = values(done[2], "epsilon_lower_bound", "guesses=12, repeated=8")
    assert bound[0].value == 0
    assert bound[2].value > 0
    assert bound[2].members + bound[2].nonmembers == 16


def test_rows_have_the_cost_of_canary_observations(done):
    for name in ("canaries", "canary_references"):
        seconds = values(done[2], "seconds", f"observation={name}")
        assert len(seconds) == 3
        assert all(r.value > 0 for r in seconds)
        assert values(done[2], "passes", f"observation={name}")[1].value > 0


def test_rows_count_the_canaries(done):
    store, requested, results = done
    (planned,) = plan(parsed(requested), store)
    facts = {r.metric: r.value for r in results.rows if r.epoch is None}
    inside = planned.split.planted.included
    assert facts["canaries"] == 32
    assert facts["canaries_trained_on"] == sum(inside)
    assert facts["canary_copies"] == len(planned.texts["train"]) - len(planned.split.train)
    assert facts["canary_references"] == 120
    assert facts["train_texts"] == 16


def test_canaries_do_not_change_the_split(done, tmp_path):
    store, requested, _ = done
    (with_them,) = plan(parsed(requested), store)
    bare = {**requested, "data": DATA, "metrics": ["auc"]}
    (without,) = plan(parsed(bare), store)
    assert with_them.split.train == without.split.train
    assert with_them.split.audited == without.split.audited
    assert with_them.key != without.key
    assert "canaries" not in json.dumps([without.recipe, without.key])
    assert not len(without.texts["canaries"])


def test_each_seed_may_flip_its_own_coins(done):
    store, requested, _ = done
    data = {**requested["data"], "canaries": {**CANARIES, "by_seed": True}}
    first, other = plan(parsed({**requested, "data": data, "seeds": [0, 1]}), store)
    assert first.split.planted.texts == other.split.planted.texts
    assert first.split.planted.included != other.split.planted.included
    shared = plan(parsed({**requested, "seeds": [0, 1]}), store)
    assert shared[0].split.planted is shared[1].split.planted


def test_shadow_models_are_trained_on_the_canaries_too(done):
    store, requested, _ = done
    metrics = ["auc"]
    shadowed = {**requested, "attacks": ["lira"], "observations": [{"shadows": {"models": 4}}], "metrics": metrics}
    (planned,) = plan(parsed(shadowed), store)
    copies = planned.split.planted.copies
    for one in shadow_cells(planned):
        assert one.texts["train"].ids[-len(copies) :] == copies.ids


def test_every_canary_is_trained_on_token_by_token(done):
    store, requested, _ = done
    (planned,) = plan(parsed(requested), store)
    parts = {
        p: read_arrays(store.folder("tokens", byheart.core.registry.key_of(planned.tokens_recipe(p))))
        for p in ("train", "canaries")
    }
    rows = {
        p: [tuple(a["ids"][lo:hi]) for lo, hi in zip(a["starts"], a["starts"][1:], strict=False)]
        for p, a in parts.items()
    }
    labels = planned.split.planted
    for row, inside, often in zip(rows["canaries"], labels.included, labels.repetitions, strict=True):
        assert rows["train"].count(row) == (often if inside else 0)


def test_metrics_are_computed_from_evidence_and_coins(done):
    store, requested, results = done
    (planned,) = plan(parsed(requested), store)
    evidence = {
        n: LogProbs(**{k: v for k, v in stored.items() if k in {"logp", "starts"}})
        for n in ("canaries", "canary_references", "canaries_base")
        for stored in [
            read_arrays(store.folder("evidence", evidence_key(planned, planned.observation(n), ModelState(2))))
        ]
    }
    metric = choose("metrics", "exposure", {"repeated": 8})
    again = metric(evidence["canaries"], evidence["canary_references"], planned.split.planted)
    assert again.value == values(results, "exposure", "repeated=8")[2].value
    base = read_arrays(store.folder("evidence", evidence_key(planned, planned.observation("canaries"), ModelState(0))))
    assert np.array_equal(base["logp"], evidence["canaries_base"].logp)  # one pass serves both


def test_canaries_work_with_prompt_methods_and_frozen_layers(tiny_folder, tmp_path):
    requested = content(
        tiny_folder("gemma"), methods=["head", "prefix"], canaries={**CANARIES, "count": 8, "references": 5}
    )
    requested["training"]["epochs"] = 1
    requested["metrics"] = [{"exposure": {"repeated": 8}}, "held_out_exposure"]
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    # Head: base and one epoch. Prefix: base, initialized prefix and one epoch.
    assert sorted((r.method, r.epoch, r.initialized) for r in results.rows if r.metric == "exposure") == [
        ("head", 0, False),
        ("head", 1, False),
        ("prefix", 0, False),
        ("prefix", 0, True),
        ("prefix", 1, False),
    ]


def test_many_seeds_give_a_bound_of_many_runs(tiny_folder, tmp_path):
    few = {"count": 2, "repetitions": [8], "kinds": ["digits"], "references": 30, "by_seed": True}
    requested = content(
        tiny_folder("llama"), canaries=few, metrics=[{"canary_guess": {"repeated": 8}}], attacks=["loss"]
    )
    results = byheart.run({**requested, "seeds": [0, 1, 2, 3], "training": {"epochs": 1}}, store=tmp_path / "store")
    assert not results.failed, results.failed
    guesses = [r for r in results.rows if r.metric == "canary_guess" and r.epoch == 1]
    assert {r.members for r in guesses} == {0, 1}
    assert all(r.members + r.nonmembers == 1 for r in guesses)
    table = privacy_bounds(results.rows)
    assert table.rows[0][2] == "4 runs, one guess each"
    with pytest.raises(DataError, match="by_seed"):
        byheart.run(
            {**requested, "data": {**requested["data"], "canaries": {**few, "by_seed": False}}},
            store=tmp_path / "store",
        )


def test_tables_show_exposure_and_bounds(done):
    _, _, results = done
    table = exposure_table(results.rows)
    assert table.header == ("data", "method", "estimated by", "trained on", "base model", "epoch 1", "epoch 2")
    assert [(row[2].split(" (")[0], row[3]) for row in table.rows] == [
        ("sampling", "held out"),
        ("sampling", "once"),
        ("sampling", "8 times"),
        ("extrapolation", "once"),
        ("extrapolation", "8 times"),
    ]
    bounds = privacy_bounds(results.rows)
    (line,) = bounds.rows
    assert line[2] == "one run, seed 0, 12 guesses on 16 canaries"
    assert float(line[3]) > 0
    assert float(line[4]) == 0
    assert float(line[5]) >= float(line[3])
    for shown in (exposure_table, privacy_bounds):
        with pytest.raises(DataError, match=r"data\.canaries"):
            shown([r for r in results.rows if r.metric == "auc"])


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"data": {"max_tokens": 12}}, r"'canary/0'.* truncated at data\.max_tokens = 12\."),
        ({"canaries": {**CANARIES, "repetitions": [1, 17]}}, r"17 .* 16 training texts"),
        ({"canaries": {**CANARIES, "coin": 0.6}}, r"data\.canaries\.coin is 0\.6"),
        ({"canaries": None}, r"metrics \w+: .*data\.canaries"),
        ({"metrics": [{"epsilon_lower_bound": {"delta": 0.0}}]}, r"delta = 0(\.0)?: "),
        ({"metrics": [{"epsilon_lower_bound": {"delta": 1.5}}]}, r"delta = 1\.5"),
        ({"metrics": [{"epsilon_lower_bound": {"guesses": 3}}]}, r"\b3 guesses on \d+ canaries.* delta"),
        ({"metrics": [{"exposure": {"repeated": 5}}]}, r"exposure.*\b5\b"),
        ({"metrics": ["auc", "exposure"], "canaries": {**CANARIES, "kinds": ["real_texts"]}}, r"exposure.*real_texts"),
    ],
)
def test_metrics_without_their_inputs_are_refused_before_training(tiny_folder, tmp_path, changes, reported):
    store = Store.open(tmp_path / "store")
    try:
        results = byheart.run(content(tiny_folder("llama"), **changes), store=store)
    except (DataError, SettingError) as error:
        message = str(error)
    else:
        message = str(results.failed)
    import re

    assert re.search(reported, message), message
    assert not list((store.root / "training").glob("*"))
    assert issubclass(DataError, ByheartError)
