"""`training.learning_rate: search`: the rate with the lowest selection perplexity, from texts that no attack reads."""

import dataclasses

import numpy as np
import pytest

import byheart
from byheart.core.errors import SettingError, TrainingError
from byheart.core.registry import choose
from byheart.core.split import Split
from byheart.core.types import NO_TEXTS
from byheart.metrics.perplexity import perplexity
from byheart.store.rows import study_rows
from byheart.store.store import Store
from byheart.study import learning_rate_search, train_and_observe
from byheart.study.estimate import cell_estimates, plan_table
from byheart.study.learning_rate_search import all_trials, pending_trials, with_selection_texts
from byheart.study.plan import plan_cells
from byheart.study.searched_rates import LearningRateSearch, TriedRate, best_rate, half_decades_from, split_search
from byheart.study.stored_evidence import read_evidence
from byheart.study.study_file import parse_study
from testing import processes
from testing.stores import lora_study

RATES = [1e-4, 1e-2, 1.0]


def content(folder, rates="search", **changes):
    study = {
        **lora_study(folder),
        "methods": ["lora"],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": rates},
        "attacks": ["loss"],
        "metrics": ["auc", "perplexity"],
    }
    return {**study, **changes}


@pytest.fixture(scope="module")
def searched(tiny_folder, tmp_path_factory):
    """A finished study with a search among three rates and two seeds: its content, store and results."""
    requested = content(tiny_folder("llama"), {"search": RATES}, seeds=[3, 4])
    store = Store.open(tmp_path_factory.mktemp("searched"))
    return requested, store, byheart.run(requested, store=store)


def test_the_rate_with_the_lowest_selection_perplexity_is_chosen_for_all_seeds(searched):
    requested, store, results = searched
    assert not results.failed
    planned = plan_cells(parse_study(requested), store)
    found = {}
    for trial in all_trials(planned, store):
        (observation,), (state,) = trial.observations, trial.states
        tokens = read_evidence(trial, store, observation, state)
        assert tokens.logp.size
        found[trial.cell.method.settings["learning_rate"]] = perplexity(tokens, trial.split.validation_groups).value
        assert trial.cell.seed == 3
    assert set(found) == set(RATES)
    best = min(found, key=found.get)
    assert [r.value for r in results.rows if r.metric == "learning_rate"] == [best, best]
    assert {p.cell.method.settings["learning_rate"] for p in planned} == {best}


def test_rows_have_every_tried_rate(searched):
    _, store, results = searched
    rows = [r for r in study_rows(store) if r.metric == "learning_rate_search" and r.seed == 3]
    assert [r.metric_settings for r in rows] == [f"rate={rate:g}" for rate in RATES]
    assert all(r.low < r.value < r.high for r in rows)
    assert {r.nonmembers for r in rows} == {len(plan_cells(parse_study(searched[0]), store)[0].split.selection)}
    chosen = next(r.value for r in results.rows if r.metric == "learning_rate")
    assert {r.value for r in results.rows if r.metric == "learning_rate_at_end"} == {float(chosen in RATES[::2])}


def test_chosen_cells_have_the_keys_of_a_study_that_writes_the_rate(searched, tmp_path):
    requested, store, _ = searched
    planned = plan_cells(parse_study(requested), store)
    rate = planned[0].cell.method.settings["learning_rate"]
    written = {**requested, "methods": [{"lora": {"learning_rate": rate}}], "training": {"epochs": 2, "batch_size": 4}}
    assert [p.key for p in planned] == [p.key for p in plan_cells(parse_study(written), Store.open(tmp_path))]


def test_a_default_rate_that_is_chosen_has_the_key_of_the_default(tiny_folder, tmp_path):
    default = choose("methods", "lora").defaults["learning_rate"]
    store, requested = Store.open(tmp_path), content(tiny_folder("llama"), {"search": [default, 1e-9]})
    byheart.run(requested, store=store)
    (searched_cell,) = plan_cells(parse_study(requested), store)
    (plain,) = plan_cells(parse_study(content(tiny_folder("llama"), None)), store)
    assert searched_cell.tried
    assert searched_cell.key == plain.key


def test_a_cell_with_the_rate_that_a_search_chooses_is_one_cell(searched):
    requested, store, _ = searched
    (chosen,) = {r.value for r in study_rows(store) if r.metric == "learning_rate"}
    both = [{"lora": {"learning_rate": chosen}, "training": {"learning_rate": None}}, *requested["methods"]]
    planned = plan_cells(parse_study({**requested, "methods": both}), store)
    assert [bool(p.tried) for p in planned] == [True, True], "one for each seed"
    other = [{"lora": {"learning_rate": 10 * chosen}, "training": {"learning_rate": None}}, *requested["methods"]]
    assert len(plan_cells(parse_study({**requested, "methods": other}), store)) == 4


def test_trials_have_no_audited_text_and_selection_texts_are_not_reported(searched):
    requested, store, _ = searched
    (planned, _) = plan_cells(parse_study(requested), store)
    selection = set(planned.split.selection.ids)
    others = (planned.split.train, planned.split.audited, planned.split.validation, planned.split.known_nonmembers)
    assert selection
    assert all(not selection & set(texts.ids) for texts in others)
    assert not set(planned.split.selection_groups) & set(planned.split.validation_groups)
    assert not selection & {i for texts in planned.texts.values() for i in texts.ids}
    for trial in all_trials([planned], store):
        assert set(trial.texts) == {"train", "validation"}
        assert set(trial.texts["validation"].ids) == selection
        assert not trial.split.members
        assert not len(trial.split.audited)


def test_methods_with_and_without_search_are_measured_on_the_same_texts(tiny_folder, tmp_path):
    requested = content(tiny_folder("llama"), methods=["head", {"lora": {"learning_rate": 0.01}}])
    head, lora = plan_cells(parse_study(requested), Store.open(tmp_path))
    assert lora.cell.search is None
    assert head.split.validation.ids == lora.split.validation.ids
    assert len(head.split.selection)


def test_canaries_are_those_of_a_study_without_search(tiny_folder, tmp_path):
    """They are drawn before the validation texts are halved, so no canary is a selection text."""
    data = {**lora_study("")["data"], "canaries": {"kinds": ["real_texts"], "count": 16, "repetitions": [1]}}
    requested = content(tiny_folder("llama"), {"search": [1e-3, 1e-4]}, data=data)
    (searched_cell,) = plan_cells(parse_study(requested), Store.open(tmp_path))
    (plain,) = plan_cells(parse_study(content(tiny_folder("llama"), None, data=data)), Store.open(tmp_path))
    assert searched_cell.key == plain.key
    planted, selection = searched_cell.split.planted, searched_cell.split.selection
    assert not set(planted.texts.scored) & set(selection.scored)


def test_other_audited_texts_give_the_same_trials(searched):
    """The labels and texts of the audit are not an input of the choice."""
    requested, store, _ = searched
    (planned, _) = plan_cells(parse_study(requested), store)
    other_split = dataclasses.replace(
        planned.split,
        members=planned.split.members[:2],
        member_groups=planned.split.member_groups[:2],
        nonmembers=planned.split.nonmembers.take([1, 0]),
        nonmember_groups=planned.split.nonmember_groups[1::-1],
    )
    other = dataclasses.replace(planned, split=other_split, texts={**planned.texts, "audited": other_split.audited})
    assert not pending_trials([other], store)
    assert [t.key for t in all_trials([other], store)] == [t.key for t in all_trials([planned], store)]


def test_a_second_run_trains_nothing(searched, monkeypatch):
    requested, store, results = searched
    monkeypatch.setattr(train_and_observe, "_train", lambda *_: pytest.fail("trained again"))
    assert byheart.run(requested, store=store).rows == results.rows


@pytest.mark.parametrize("moment", ["trained", "selection"])
def test_an_interrupted_search_resumes(searched, tmp_path, moment):
    requested, complete, _ = searched
    store, events = Store.open(tmp_path), []

    def stop(event):
        events.append(event)
        if sum("trained" in e.text for e in events) == 3:  # in the second trial
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        byheart.run(requested, store=store, **({"tell": stop} if moment == "trained" else {"finished": _interrupt}))
    planned = plan_cells(parse_study(requested), store)
    assert len(pending_trials(planned, store)) == 2
    trials = []
    byheart.run(requested, store=store, finished=lambda o: trials.append(o) if o.note else None)
    assert len(trials) == 2
    assert _without_seconds(study_rows(store)) == _without_seconds(study_rows(complete))


def _interrupt(_outcome):
    raise KeyboardInterrupt


def _without_seconds(rows):
    return [r for r in rows if r.metric != "seconds"]


@pytest.mark.slow
def test_workers_give_the_same_rows(searched, tmp_path, monkeypatch):
    # Forked from one process; test_interrupted.py starts workers as a user's run does, which import torch four times here.
    monkeypatch.setattr("byheart.study.executors.local.multiprocessing.get_context", lambda _: processes.CONTEXT)
    requested, complete, _ = searched
    store = Store.open(tmp_path)
    results = byheart.run({**requested, "machine": {"workers": 2}}, store=store)
    assert not results.failed
    assert _without_seconds(study_rows(store)) == _without_seconds(study_rows(complete))


def test_the_plan_counts_pending_trials(searched, tiny_folder, tmp_path):
    requested, store, _ = searched
    fresh = cell_estimates(parse_study(requested), Store.open(tmp_path))
    assert [c.is_trial for c in fresh] == [True] * 3 + [False] * 2
    assert [(c.epochs_to_train, c.observations_to_make) for c in fresh[:3]] == [(2, 1)] * 3
    assert all(c.minutes > 0 for c in fresh)
    assert plan_table("tiny", fresh).title == "tiny: 2 cells and 3 trials of learning rates"
    assert [c.epochs_to_train for c in cell_estimates(parse_study(requested), store)] == [0, 0]


def test_a_rate_that_diverges_is_recorded_and_not_chosen(tiny_folder, tmp_path, monkeypatch):
    plain = learning_rate_search.observe

    def observe(trial, *rest):
        if trial.cell.method.settings["learning_rate"] == 1e-3:
            raise TrainingError("epoch 1: loss is not finite")
        return plain(trial, *rest)

    monkeypatch.setattr(learning_rate_search, "observe", observe)
    store = Store.open(tmp_path)
    results = byheart.run(content(tiny_folder("llama"), {"search": [1e-3, 1e-4]}), store=store)
    assert not results.failed
    values = {(r.metric, r.metric_settings): r.value for r in results.rows if r.metric.startswith("learning_rate")}
    assert values["learning_rate", ""] == 1e-4
    assert values["learning_rate_diverged", "rate=0.001"] == 1e-3


def test_a_cell_fails_if_every_rate_diverges(tiny_folder, tmp_path, monkeypatch):
    def observe(*_):
        raise TrainingError("epoch 1: loss is not finite")

    monkeypatch.setattr(learning_rate_search, "observe", observe)
    results = byheart.run(content(tiny_folder("llama")), store=Store.open(tmp_path))
    assert [o.error.partition(".")[0] for o in results.failed] == [
        "search of the learning rate: training diverged at every rate"
    ]


def test_the_default_grid_is_extended_once_beyond_its_best_end():
    search = LearningRateSearch((1e-4, 3e-4, 1e-3), is_extended=True, seed=0)
    falling = [TriedRate(r, 10 - i, None, None, 5) for i, r in enumerate(search.rates)]
    rising = [TriedRate(r, 10 + i, None, None, 5) for i, r in enumerate(search.rates)]
    assert search.extension(falling) == (3e-3, 1e-2)
    assert search.extension(rising) == (1e-5, 3e-5)
    assert search.extension([falling[0], falling[2]._replace(rate=3e-4), rising[2]]) == ()
    assert dataclasses.replace(search, is_extended=False).extension(falling) == ()
    assert best_rate([falling[0], falling[0]._replace(rate=1e-5)]).rate == 1e-5


@pytest.mark.parametrize("name", ["lora", "head", "full", "prompt"])
def test_the_default_grid_is_around_the_methods_rate(name, tiny_folder):
    (cell,) = parse_study(content(tiny_folder("llama"), methods=[name])).cells
    default = choose("methods", name).defaults["learning_rate"]
    assert cell.search.rates[2] == default
    assert np.allclose(np.log10(cell.search.rates), np.log10(default) + np.arange(-2, 3) / 2, atol=0.03)


def test_the_grid_has_half_decades():
    assert [half_decades_from(3e-4, n) for n in (-2, -1, 0, 1, 2)] == [3e-5, 1e-4, 3e-4, 1e-3, 3e-3]
    assert half_decades_from(2e-4, 1) == 6.3e-4


def test_halves_keep_groups_together(tiny_folder, tmp_path):
    (planned,) = plan_cells(parse_study(content(tiny_folder("llama"), None)), Store.open(tmp_path))
    groups = tuple(str(i // 3) for i in range(len(planned.split.validation)))
    half = with_selection_texts(dataclasses.replace(planned.split, validation_groups=groups))
    assert not set(half.selection_groups) & set(half.validation_groups)
    assert abs(len(half.selection) - len(half.validation)) <= 3
    assert set(half.selection.ids) | set(half.validation.ids) == set(planned.split.validation.ids)
    assert Split(NO_TEXTS, (), NO_TEXTS, NO_TEXTS, (), (), {}).selection == NO_TEXTS


def test_a_method_keeps_a_rate_that_its_entry_writes(tiny_folder):
    cells = parse_study(content(tiny_folder("llama"), methods=["head", {"lora": {"learning_rate": 0.01}}])).cells
    assert [c.search is None for c in cells] == [False, True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rates": {"find": [1e-3]}}, "neither a rate nor a search"),
        ({"rates": ["search", 1e-3]}, "neither a rate nor a search"),
        ({"rates": "fast"}, "'fast': neither a rate nor a search. Write a number, learning_rate: search, or"),
        ({"rates": {"search": [1e-3]}}, "training.learning_rate.search"),
        ({"rates": {"search": [1e-3, -1]}}, "training.learning_rate.search"),
        ({"methods": ["dp_lora"]}, "private training"),
    ],
)
def test_wrong_searches_are_refused(changes, words, tiny_folder):
    with pytest.raises(SettingError, match=words):
        parse_study(content(tiny_folder("llama"), **changes))


def test_studies_without_search_are_parsed_as_before():
    training = {"epochs": 2, "learning_rate": [1e-3, 1e-2]}
    assert split_search(training) == (training, None)
