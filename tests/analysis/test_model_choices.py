"""Which model to choose: the front of perplexity and leakage, and the sentences about it."""

from dataclasses import replace

import pytest

from byheart.analysis.model_choices import choice_summaries, model_choices, pareto_front
from byheart.analysis.verdicts import verdicts
from byheart.core.errors import DataError
from byheart.stats.simultaneous import simultaneous_auc_interval
from byheart.tables.choices import choices
from testing.made_up import judged, scored, study

PANEL = "WebNLG"


def with_perplexity(rows, values):
    """The rows, with these perplexities by method and epoch."""
    return [
        replace(r, value=float(values[r.method, r.epoch]))
        if r.metric == "perplexity" and (r.method, r.epoch) in values
        else r
        for r in rows
    ]


def two_methods(**options):
    """Full fine-tuning learns more and leaks more than a prompt; two epochs each."""
    rows = study(datasets=("webnlg",), methods=("full", "prompt"), epochs=(0, 1, 2), **options)
    return with_perplexity(rows, {("full", 1): 12, ("full", 2): 10, ("prompt", 1): 15, ("prompt", 2): 11})


def names(models):
    return [(m.verdict.method, m.verdict.epoch) for m in models]


def test_models_are_every_method_at_every_epoch_by_perplexity():
    rows = two_methods()
    (models,) = model_choices(rows, scored(rows), {}).values()
    assert names(models) == [("full", 2), ("prompt", 2), ("full", 1), ("prompt", 1)]
    assert [round(m.excess, 3) for m in models] == [0, 0.1, 0.2, 0.5]


def test_the_front_has_no_model_that_another_one_exceeds():
    rows = two_methods()
    (models,) = model_choices(rows, scored(rows), {}).values()
    assert [m.leakage for m in models] == pytest.approx([0.725, 0.51, 0.6125, 0.505], abs=0.001)
    assert names(pareto_front(models, step=0.02)) == [("full", 2), ("prompt", 2)]
    assert names(pareto_front(models, step=0.001)) == [("full", 2), ("prompt", 2), ("prompt", 1)]


def test_verdicts_and_intervals_are_those_of_the_epoch():
    rows = two_methods()
    scores = scored(rows)
    (models,) = model_choices(rows, scores, {}).values()
    tests = 2 * 5  # methods, attacks
    assert models[0].verdict.auc == simultaneous_auc_interval(scores("hub/gpt2/webnlg/full//0/2/loss"), tests=tests)
    (last,) = verdicts(rows, scores, {}).values()
    assert [(v.word, v.auc) for v in last] == [(m.verdict.word, m.verdict.auc) for m in models if m.verdict.epoch == 2]


def test_an_epoch_that_not_every_seed_reached_is_no_choice():
    rows = two_methods(seeds=(0, 1))
    (models,) = model_choices(
        [r for r in rows if not (r.method == "full" and r.epoch == 2 and r.seed == 1)], scored(rows), {}
    ).values()
    assert ("full", 2) not in names(models)
    (models,) = model_choices(
        [r for r in rows if not (r.method == "full" and r.epoch == 2 and r.seed == 1 and r.metric == "perplexity")],
        scored(rows),
        {},
    ).values()
    assert names(models) == [("prompt", 2), ("full", 1), ("prompt", 1)]


def test_auc_below_one_half_is_not_less_leakage():
    rows = [
        replace(r, value=0.45) if r.metric == "auc" and r.method == "prompt" and r.epoch == 1 else r
        for r in two_methods()
    ]
    (models,) = model_choices(rows, scored(rows), {}).values()
    assert models[names(models).index(("prompt", 1))].leakage == 0.5


def test_the_named_models_are_in_the_table():
    rows = [
        replace(r, value={1: 0.80, 2: 0.79}[r.epoch] + 0.01 * (r.method == "full"))
        if r.metric == "auc" and r.epoch
        else r
        for r in two_methods()
    ]
    (models,) = model_choices(rows, scored(rows), {}).values()
    assert names(pareto_front(models, step=0.1)) == [("full", 2), ("prompt", 2)]


def test_fractions_of_epochs_are_rounded():
    rows = [replace(r, epoch=1 / 3) if r.epoch == 1 else r for r in two_methods()]
    (models,) = model_choices(rows, scored(rows), {}).values()
    assert [m.name for m in models] == [
        f"{method} after {epochs} epochs" for epochs in ("2", "0.333333") for method in ("full", "prompt")
    ]
    table = choices(rows, scored(rows), judged())
    assert {line[table.header.index("epoch")] for line in table.rows} <= {"2", "0.333333"}


def test_models_that_are_worse_than_the_base_model_are_no_choice():
    rows = with_perplexity(two_methods(), {("full", 2): 30})
    (models,) = model_choices(rows, scored(rows), {}).values()
    assert ("full", 2) not in names(models)
    assert len(models) == 3


def test_initialized_models_are_no_choice():
    rows = two_methods()
    started = [replace(r, initialized=True, value=1.5) for r in rows if r.metric == "perplexity" and r.epoch == 0]
    (models,) = model_choices([*rows, *started], scored(rows), {}).values()
    assert models[0].perplexity.value == 10
    assert len(models) == 4


def test_a_reversed_leak_counts_as_one():
    rows = [
        replace(r, value=0.1) if r.metric == "auc" and r.method == "prompt" and r.epoch == 2 else r
        for r in two_methods()
    ]
    (models,) = model_choices(rows, scored(rows), {}).values()
    forgotten = models[names(models).index(("prompt", 2))]
    assert forgotten.verdict.word == "reversed"
    assert forgotten.leakage == pytest.approx(0.9, abs=0.01)
    assert ("prompt", 2) not in names(pareto_front(models, step=0.02))


def test_seeds_are_averaged():
    rows = two_methods(seeds=(0, 1, 2))
    rows = [replace(r, value=r.value + r.seed) if r.metric == "perplexity" and r.epoch else r for r in rows]
    (models,) = model_choices(rows, scored(rows), {}).values()
    assert models[0].perplexity.value == pytest.approx(11)
    assert models[0].verdict.seeds == 3


def test_the_summary_names_the_best_model_and_the_first_without_detectable_leakage():
    rows = two_methods()
    (summary,) = choice_summaries(rows, scored(rows), {}).values()
    assert summary.startswith(
        "Lowest validation perplexity of 4 observed models: 10.00, full after 2 epochs (leaks; Loss AUC 0.725 ["
    )
    assert "no membership attack detects leakage: 11.00 (10 % higher), prompt after 2 epochs (Loss AUC" in summary


def test_the_summary_names_the_least_leakage_where_all_models_leak():
    rows = [replace(r, value=r.value + 0.2) if r.metric == "auc" and r.epoch else r for r in two_methods()]
    (summary,) = choice_summaries(rows, scored(rows), {}).values()
    assert "with the least measured leakage: 15.00 (50 % higher), prompt after 1 epoch (leaks; Loss" in summary


def test_one_sentence_where_the_best_model_does_not_leak():
    rows = [replace(r, value=0.5) if r.metric == "auc" else r for r in two_methods()]
    (summary,) = choice_summaries(rows, scored(rows), {}).values()
    assert summary.count("perplexity") == 1
    assert "full after 2 epochs (no leakage detectable; " in summary


def test_a_broken_split_has_no_choices():
    rows = two_methods()
    assert model_choices(rows, scored(rows), {PANEL: judged("broken", "made up")["webnlg", ""]}) == {}
    with pytest.raises(DataError, match="Add an attack and the metrics auc and perplexity"):
        choices([r for r in rows if r.metric != "perplexity"], scored(rows), {})


def test_the_table_has_one_line_for_each_model_of_the_front():
    rows = two_methods()
    table = choices(rows, scored(rows), judged())
    found = [dict(zip(table.header, line, strict=True)) for line in table.rows]
    assert [(f["method"], f["epoch"], f["above the lowest"], f["verdict"]) for f in found] == [
        ("full", "2", "0 %", "leaks"),
        ("prompt", "2", "10 %", "no leakage detectable"),
    ]
    assert found[0]["validation perplexity"] == "10.00 [17.00, 19.00]"
    assert "Of 4 observed models" in table.note
