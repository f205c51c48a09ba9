"""Leakage at equal perplexity: interpolated along the path, never extrapolated, with the bootstrap samples of a plain loop."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from byheart.analysis import row_values
from byheart.analysis.comparisons import LEAST_MARK
from byheart.analysis.matched_utility import LeakageAtPerplexity, paths_by_attack_and_method, smallest_difference
from byheart.analysis.utility_curves import (
    NOT_OBSERVED_CLOSELY,
    NOT_REACHED,
    audited_weights,
    bootstrap_aucs,
    bootstrap_perplexities,
    common_perplexities,
    counts_by_class,
    first_crossing,
    is_level_in_range,
    validation_weights,
)
from byheart.core.errors import DataError
from byheart.core.types import Estimate, Row, ScoreSet, TextLosses
from byheart.figures.frontier import frontier
from byheart.tables.matched_utility import matched_utility
from testing.made_up import everything, read_by, scored, study

FEW = {"datasets": ("webnlg",), "methods": ("full", "lora", "prompt")}


def read(perplexities, values, level):
    place = first_crossing(np.array([perplexities], dtype=float), np.array([float(level)]))
    return float(place.read(np.array([values], dtype=float))[0])


def line(table, *leading):
    found = [row for row in table.rows if row[: len(leading)] == leading]
    assert len(found) == 1, (leading, table.rows)
    return dict(zip(table.header, found[0], strict=True))


def slowed(rows):
    """Prompt tuning learns little: it never falls below 19."""
    return [
        replace(r, value=20.0 - r.epoch / 3) if (r.method, r.metric) == ("prompt", "perplexity") else r for r in rows
    ]


# --- along a path


def test_between_two_epochs_the_logarithm_of_perplexity_is_linear():
    assert read([20, 10], [0.5, 0.7], np.sqrt(200)) == pytest.approx(0.6)
    assert read([20, 10, 5], [0.5, 0.7, 0.8], 10) == pytest.approx(0.7)
    assert read([20, 10, 5], [0.5, 0.7, 0.8], np.sqrt(50)) == pytest.approx(0.75)
    assert read([20, 10, 5], [0.5, 0.7, 0.8], 5) == pytest.approx(0.8)


def test_the_first_of_several_crossings_counts():
    assert read([20, 10, 20, 10], [0.5, 0.6, 0.8, 0.9], np.sqrt(200)) == pytest.approx(0.55)


def test_a_constant_path_has_its_constant_value():
    assert read([20, 10, 10, 5], [0.5, 0.6, 0.8, 0.9], 10) == pytest.approx(0.6)


def test_a_bootstrap_sample_outside_a_level_uses_the_nearest_epoch():
    assert read([20, 10, 12], [0.5, 0.7, 0.9], 8) == pytest.approx(0.7)
    assert read([20, 15, 11], [0.5, 0.7, 0.9], 8) == pytest.approx(0.9)
    assert read([20, 10, 12], [0.5, 0.7, 0.9], 30) == pytest.approx(0.5)


def test_a_path_reaches_all_values_between_its_ends():
    path = np.array([20.0, 10.0, 12.0])
    assert [is_level_in_range(path, level) for level in (9.9, 10.0, 15.0, 20.0, 20.1)] == [
        False,
        True,
        True,
        True,
        False,
    ]


# --- bootstrap samples


def test_a_bootstrap_auc_weights_texts_by_their_draws():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    members = np.arange(30) < 14
    stored = ScoreSet(tuple(map(str, range(30))), rng.integers(0, 6, 30).astype(float), members)
    weights = audited_weights(stored, rng)
    assert (weights[0] == 1).all()
    drawn = bootstrap_aucs(stored, counts_by_class(weights, stored.members))
    for nth in (0, 1, 2, 77):
        texts = np.repeat(np.arange(30), weights[nth])
        assert drawn[nth] == pytest.approx(roc_auc_score(members[texts], stored.scores[texts]))


def test_complete_groups_are_drawn():
    members = np.arange(24) < 12
    names = tuple(f"g{i // 3}" for i in range(24))
    weights = audited_weights(ScoreSet(names, np.zeros(24), members, names), np.random.default_rng(1))
    assert (weights.reshape(-1, 8, 3) == weights.reshape(-1, 8, 3)[:, :, :1]).all()
    assert (weights.sum(axis=1) == 24).all()


def test_a_bootstrap_perplexity_weights_tokens_equally():
    losses = TextLosses(np.array([3.0, 8.0, 1.0]), np.array([1, 4, 2]))
    weights = validation_weights(3, np.random.default_rng(2))
    drawn = bootstrap_perplexities(losses, weights)
    assert drawn[0] == pytest.approx(np.exp(12 / 7))
    a, b, c = weights[5]
    assert drawn[5] == pytest.approx(np.exp((3 * a + 8 * b + c) / (a + 4 * b + 2 * c)))


# --- the table


def test_methods_are_compared_at_the_perplexity_that_all_reach_and_that_half_reach():
    table = matched_utility(*(everything(slowed(study(**FEW)))[n] for n in ("rows", "scores", "losses")))
    assert {row[1] for row in table.rows} == {"19.00", "17.00", row_values.MISSING}
    # At 19 the others are at epoch 1; at 17 they are at their last epoch.
    assert line(table, "WebNLG", "19.00", "Loss")["full"].startswith("0.613")
    assert line(table, "WebNLG", "19.00", "Loss")["prompt"].startswith("0.515")
    assert line(table, "WebNLG", "17.00", "Loss")["full"].startswith("0.838 [")
    assert line(table, "WebNLG", "17.00", "Loss")["prompt"] == NOT_REACHED
    assert line(table, "WebNLG", row_values.MISSING, "trained parameters")["full"] == "1,234,567"


def test_a_perplexity_between_states_is_read_if_their_leakage_is_alike():
    table = matched_utility(*(everything(study(**FEW))[n] for n in ("rows", "scores", "losses")), perplexity=18.5)
    share = np.log(19 / 18.5) / np.log(19 / 18)
    cells = line(table, "WebNLG", "18.50", "Loss")
    assert cells["prompt"].startswith(f"{0.505 + share * 0.005:.3f} [")
    low, high = interval(cells["prompt"])
    assert low <= 0.475, "the interval of epoch 1 begins there"
    assert high >= 0.54, "the interval of epoch 2 ends there"


def test_between_states_that_differ_there_is_no_number():
    """The AUC of full fine-tuning rises from .61 to .73 within an epoch: no model between them was observed."""
    table = matched_utility(*(everything(study(**FEW))[n] for n in ("rows", "scores", "losses")), perplexity=18.5)
    assert line(table, "WebNLG", "18.50", "Loss")["full"] == NOT_OBSERVED_CLOSELY
    assert "training.observe" in table.note
    at_states = matched_utility(*(everything(study(**FEW))[n] for n in ("rows", "scores", "losses")), perplexity=18.0)
    assert line(at_states, "WebNLG", "18.00", "Loss")["full"].startswith("0.725 [")
    assert "training.observe" not in at_states.note


def test_states_inside_epochs_give_the_number():
    rows = study(**{**FEW, "epochs": (0, 1, 1.25, 1.5, 1.75, 2, 3)})
    table = matched_utility(rows, scored(rows), read_by, perplexity=18.6)
    assert line(table, "WebNLG", "18.60", "Loss")["full"].startswith("0.657 [")


def test_methods_differ_only_beyond_the_uncertainty_between_states():
    level = LeakageAtPerplexity(Estimate(0.6), np.zeros(2), 0.58, 0.62)
    assert smallest_difference(level, level) == 0
    assert smallest_difference(level, level._replace(least=0.6, most=0.7)) == 0
    assert smallest_difference(level, level._replace(least=0.7, most=0.7)) == pytest.approx(0.08)
    assert smallest_difference(level._replace(least=0.7, most=0.7), level) == pytest.approx(0.08)


def test_a_path_with_virtual_tokens_starts_where_they_are_initialized():
    """The initialized prompt is at 16, so it never has the perplexity 18 that it would cross from the base model."""
    rows = study(**FEW)
    started = [
        replace(r, value=16.0 - r.epoch / 10) if (r.method, r.metric) == ("prompt", "perplexity") and r.epoch else r
        for r in rows
    ]
    initialized = [
        replace(r, initialized=True, value=16.0) if r.metric == "perplexity" else replace(r, initialized=True)
        for r in started
        if r.method == "prompt" and r.epoch == 0
    ]
    without = matched_utility(started, scored(started), read_by, perplexity=18.0)
    assert "[" in line(without, "WebNLG", "18.00", "Loss")["prompt"]
    table = matched_utility([*started, *initialized], scored(started), read_by, perplexity=18.0)
    assert line(table, "WebNLG", "18.00", "Loss")["prompt"] == NOT_REACHED


def interval(cell):
    return [float(x) for x in cell.split("[")[1].strip("]").split(", ")]


def test_the_interval_is_never_narrower_than_the_rows_own():
    rows = study(**FEW)
    bounded = matched_utility(rows, scored(rows), read_by, perplexity=18.0)
    low, high = (
        float(x) for x in line(bounded, "WebNLG", "18.00", "Loss")["full"].split("[")[1].strip("]").split(", ")
    )
    assert low <= 0.695 + 1e-9
    assert high >= 0.755 - 1e-9


def test_without_losses_per_text_the_interval_is_marked_approximate():
    rows = study(**FEW)
    table = matched_utility(rows, scored(rows), lambda _: None, perplexity=18.0)
    assert line(table, "WebNLG", "18.00", "Loss")["full"] == "0.725 [0.695, 0.755]"
    assert "APPROXIMATE" in table.note
    assert LEAST_MARK not in table.note


def test_one_method_or_one_epoch_gives_no_comparison():
    for few in ({"methods": ("full",)}, {"epochs": (3,)}):
        rows = study(**{**FEW, **few})
        with pytest.raises(DataError, match="two methods"):
            matched_utility(rows, scored(rows), read_by)


def test_a_method_that_never_improves_sets_no_level():
    rows = [
        replace(r, value=30.0) if (r.method, r.epoch, r.metric) == ("prompt", 1, "perplexity") else r
        for r in study(**FEW)
    ]
    worse = [replace(r, value=20.0 + r.epoch) if (r.method, r.metric) == ("prompt", "perplexity") else r for r in rows]
    assert common_perplexities(paths_by_attack_and_method(worse)["Loss"]) == [17.0]


def test_the_interval_has_nominal_coverage():
    """A path whose AUC and perplexity are known: .62 to .68 while perplexity halves; at the middle about .65."""
    rng, inside, studies = np.random.default_rng(3), 0, 60
    blank = next(r for r in study(**FEW) if r.metric == "auc")
    for _ in range(60):
        hard, hard_scores = rng.normal(size=40), np.sqrt(1 - 0.4**2) * rng.normal(size=100)
        rows, stored, losses = list[Row](), {}, {}
        for method, epoch in itertools.product(("full", "lora"), (0, 1)):
            rows.append(replace(blank, method=method, cell=method, epoch=epoch, scores=f"{method}{epoch}"))
            rows.append(replace(rows[-1], metric="perplexity", attack="", scores="", value=0.0))
            members = np.arange(100) < 50
            apart = np.sqrt(2) * ndtri(0.62 + 0.06 * epoch)
            stored[f"{method}{epoch}"] = ScoreSet(
                tuple(map(str, range(100))), hard_scores + 0.4 * rng.normal(size=100) + apart * members, members
            )
            nats = 10 * (np.log(20 / 2**epoch) + 0.3 * hard)
            losses[method, epoch] = TextLosses(nats, np.full(40, 10))
            rows[-1] = replace(rows[-1], value=float(np.exp(nats.sum() / 400)))
            value = bootstrap_aucs(stored[f"{method}{epoch}"], counts_by_class(np.ones((1, 100), dtype=int), members))[
                0
            ]
            rows[-2] = replace(rows[-2], value=float(value), low=float(value), high=float(value))
        level = rows[1].value / np.sqrt(2)
        table = matched_utility(
            rows, stored.__getitem__, lambda r, kept=losses: kept[r.method, r.epoch], perplexity=level
        )
        if NOT_OBSERVED_CLOSELY in table.rows[0]:
            studies -= 1
            continue
        low, high = interval(table.rows[0][-2])
        inside += low <= 0.65 <= high
    assert studies >= 40
    assert inside >= 0.9 * studies


# --- the figure


def test_the_frontier_draws_a_path_for_each_method_from_the_base_model():
    rows = study(**FEW)
    figure = frontier(rows)
    path = [
        p
        for p in figure.data["points"]
        if (p["series"], p["attack"], p["metric"], p["seed"]) == ("full", "Loss", "ROC AUC", "")
    ]
    assert [p["perplexity"] for p in path] == [20, 19, 18, 17]
    assert [p["value"] for p in path] == pytest.approx([0.5, 0.6125, 0.725, 0.8375])
    text = figure.picture("svg").decode()
    assert sorted(re.findall(r">(LoRA|full|prompt)</text>", text)) == sorted(2 * ["LoRA", "full", "prompt"]), (
        "and a halo"
    )
    assert len(re.findall(r'aria-roledescription="point"', text)) == 3 * 4 + 1, "and the star"
    with pytest.raises(DataError, match="frontier"):
        frontier([r for r in rows if r.attack])
