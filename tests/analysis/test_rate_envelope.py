"""The frontier's envelope over learning rates, against a plain search of the rows for states that no other state dominates."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from byheart.analysis import labels
from byheart.figures.frontier import frontier
from testing.figure_rows import drawn
from testing.made_up import study

RATES = ("learning_rate=0.0001", "", "learning_rate=0.003")


def rates_study(*, datasets=("webnlg",), seeds=(0,)):
    """Two methods at three rates, and prompt at one, with an initialized state; all numbers are random."""
    rng = np.random.default_rng(3)
    rows = study(datasets=datasets, methods=("full", "lora"), settings=RATES, seeds=seeds)
    rows += study(datasets=datasets, methods=("prompt",), seeds=seeds)
    rows += [replace(r, initialized=True) for r in rows if r.epoch == 0 and r.method == "prompt"]
    states = {(r.cell, r.epoch, r.initialized): tuple(rng.random(2)) for r in rows}

    def numbers(row):
        perplexity, auc = states[row.cell, row.epoch, row.initialized]
        value = 8 + 12 * perplexity if row.metric == "perplexity" else round(0.5 + auc / 2, 4)
        if row.epoch == 0 and not row.initialized:
            value = 22.0 if row.metric == "perplexity" else 0.5
        return replace(row, value=value, low=value - 0.02, high=value + 0.02)

    return [numbers(r) if r.metric in {"auc", "perplexity"} else r for r in rows]


def front(rows, method):
    """The states (perplexity, AUC) of a method that no other of its states equals or beats in both."""
    perplexity = {(r.cell, r.epoch, r.initialized): r.value for r in rows if r.metric == "perplexity"}
    mine = [r for r in rows if (r.method, r.attack, r.metric) == (method, "loss", "auc")]
    if any(r.initialized for r in mine):
        mine = [r for r in mine if r.epoch or r.initialized]
    states = {(perplexity[r.cell, r.epoch, r.initialized], r.value) for r in mine}
    return {s for s in states if not any(t != s and t[0] <= s[0] and t[1] <= s[1] for t in states)}


def shown(figure, method):
    """The states on the drawn envelope of a method."""
    found = set()
    for text in drawn(figure):
        if f"; method: {labels.method_name(method)};" in text:
            number = {n: float(re.search(rf"; {n}: ([\d.]+)", text)[1]) for n in ("perplexity", "value")}
            found.add((number["perplexity"], number["value"]))
    return found


@pytest.mark.parametrize("method", ["full", "lora", "prompt"])
def test_envelope_has_the_states_that_no_other_rate_or_epoch_of_the_method_beats(method):
    rows = rates_study()
    expected = front(rows, method)
    assert shown(frontier(rows, envelope=True), method) == {(float(f"{p:.5g}"), v) for p, v in expected}
    rates = {r.method_settings for r in rows if r.method == "full" and r.value in {v for _, v in front(rows, "full")}}
    assert len(rates - {""}) > 0, "the made-up envelope spans several rates"


def test_steps_run_from_each_state_to_the_right_and_then_down():
    rows = rates_study()
    steps = [
        layer
        for layer in frontier(rows, envelope=True).spec_without_data["spec"]["layer"]
        if layer["mark"].get("type") == "line"
    ]
    assert [s["mark"]["interpolate"] for s in steps] == ["step-after"]
    assert steps[0]["encoding"]["order"]["field"] == "perplexity"


def test_envelope_of_rates_is_one_series_named_without_the_rate():
    figure = frontier(rates_study(), envelope=True)
    assert "learning rates: 3 of full, 3 of LoRA, 1 of prompt" in figure.words
    colors = [
        layer["encoding"]["color"]["scale"]["domain"]
        for layer in figure.spec_without_data["spec"]["layer"]
        if "scale" in layer["encoding"].get("color", {})
    ]
    assert all(domain == ["full", "LoRA", "prompt"] for domain in colors)
    assert any("model: full learning_rate=0.0001;" in text for text in drawn(figure))


def test_other_settings_of_a_method_have_an_envelope_of_their_own():
    rows = [
        replace(r, method_settings=", ".join(x for x in (rank, r.method_settings) if x), cell=f"{r.cell}/{rank}")
        for rank, r in itertools.product(("rank=4", "rank=8"), rates_study())
        if r.method == "lora"
    ]
    figure = frontier(rows, envelope=True)
    assert "learning rates: 3 of LoRA rank=4, 3 of LoRA rank=8" in figure.words


def test_seeds_of_one_rate_are_pooled_before_the_envelope():
    rows = rates_study(seeds=(0, 1))
    both = {
        (r.method_settings, r.epoch): [
            s.value
            for s in rows
            if (s.method, s.method_settings, s.epoch, s.attack, s.metric)
            == ("full", r.method_settings, r.epoch, "loss", "auc")
        ]
        for r in rows
    }
    means = {round(sum(values) / 2, 4) for values in both.values() if len(values) == 2}
    values = {v for _, v in shown(frontier(rows, envelope=True), "full")}
    assert values
    assert all(min(abs(v - m) for m in means) < 1e-4 for v in values)


def test_page_has_the_same_numbers_with_and_without_the_envelope():
    rows = rates_study()
    assert frontier(rows).data == frontier(rows, envelope=True).data
    assert frontier(rows).title != frontier(rows, envelope=True).title


def test_each_envelope_has_one_label():
    picture = frontier(rates_study(), envelope=True).picture("svg").decode()
    for name in ("full", "LoRA", "prompt"):
        # A label and its halo.
        assert len(re.findall(rf">{name}</text>", picture)) == 2
