"""The ranking of attacks: means, ranks and leads over settings, against plain loops."""

import itertools

import numpy as np
import pytest

from byheart.analysis import labels
from byheart.analysis.pooled_estimates import pooled_over_splits
from byheart.core.errors import DataError
from byheart.core.types import ScoreSet
from byheart.tables.ranking import ranking
from testing.made_up import ATTACKS, scored, study

ROWS = study(datasets=("webnlg", "wikipedia"), methods=("full", "prompt"), seeds=(0, 1))


def cells(table):
    return {
        dict(zip(table.header, r, strict=True))["attack"]: dict(zip(table.header, r, strict=True)) for r in table.rows
    }


def panels(rows, metric):
    """Values of the last epoch by setting and attack, by plain loops."""
    found = {}
    for dataset, method, attack in itertools.product(
        ("webnlg", "wikipedia"), ("full", "prompt"), {r.attack for r in rows if r.attack}
    ):
        chosen = [
            r
            for r in rows
            if (r.dataset, r.method, r.attack, r.metric, r.epoch) == (dataset, method, attack, metric, 3)
        ]
        found.setdefault((dataset, method), {})[attack] = pooled_over_splits(
            chosen, {r.cell: "" for r in chosen}, scored(rows)
        )
    return found


@pytest.mark.parametrize("metric", ["auc", "tpr_at_fpr"])
def test_mean_interval_and_rank_are_those_of_the_settings(metric):
    table = cells(ranking(ROWS, scored(ROWS), metric=metric))
    by_panel = panels(ROWS, metric)
    assert len(by_panel) == 4
    for name, attack in (("Loss", "loss"), ("Reference", "reference")):
        estimates = [of_panel[attack] for of_panel in by_panel.values()]
        value, low, high = (np.mean([getattr(e, n) for e in estimates]) for n in ("value", "low", "high"))
        shown = next(v for k, v in table[name].items() if k.startswith("mean") and k != "mean rank")
        assert [float(x) for x in shown.replace("[", "").replace("]", "").replace(",", "").split()] == pytest.approx(
            [value, low, high], abs=6e-4
        )
        ranks = []
        for of_panel in by_panel.values():
            own = of_panel[attack].value
            above = sum(e.value > own for e in of_panel.values())
            equal = sum(e.value == own for e in of_panel.values())
            ranks.append(above + (equal + 1) / 2)
        assert float(table[name]["mean rank"]) == pytest.approx(np.mean(ranks), abs=6e-3)


def separated(rows, gaps):
    """Scores by which members of the attack exceed non-members by its gap; all attacks share the noise."""
    noise = np.random.default_rng(0).normal(size=400)
    members = np.arange(400) < 200
    ids = tuple(f"t{i}" for i in range(400))
    by_key = {r.scores: gaps[r.attack] * (r.epoch or 0) / 3 for r in rows if r.scores}
    return lambda key: ScoreSet(ids, noise + by_key[key] * members, members)


def test_an_attack_leads_where_no_other_is_significantly_better():
    rows = [r for r in ROWS if r.metric == "auc"]
    tied = cells(ranking(rows, separated(rows, dict.fromkeys(ATTACKS, 0.0) | {"reference": 1.0, "loss": 1.0})))
    assert {n: v["first or tied"] for n, v in tied.items() if v["first or tied"] != "0 of 4"} == {
        "Reference": "4 of 4",
        "Loss": "4 of 4",
    }
    behind = cells(ranking(rows, separated(rows, dict.fromkeys(ATTACKS, 0.0) | {"reference": 2.0, "loss": 1.0})))
    assert behind["Loss"]["first or tied"] == "0 of 4"


def test_other_metrics_count_the_settings_with_the_highest_value():
    found = cells(ranking(ROWS, scored(ROWS), metric="tpr_at_fpr"))
    by_panel = panels(ROWS, "tpr_at_fpr")
    highest = sum(max(p.values(), key=lambda e: e.value).value == p["loss"].value for p in by_panel.values())
    assert found["Loss"]["first"] == f"{highest} of 4"


def test_an_attack_that_was_not_measured_everywhere_is_named_and_not_ranked():
    rows = [r for r in ROWS if (r.attack, r.method) != ("loss", "prompt")]
    table = ranking(rows, scored(rows))
    assert "Loss" not in cells(table)
    assert "Not ranked, because not measured in every setting: Loss." in table.note


def test_the_cost_is_the_median_of_the_rows():
    found = cells(ranking(ROWS, scored(ROWS)))
    for nth, attack in enumerate(ATTACKS):
        (name,) = {labels.attacks(ROWS)(r) for r in ROWS if r.attack == attack and r.metric == "auc"}
        assert float(found[name]["passes"]) == nth + 1


def test_one_attack_is_refused():
    rows = [r for r in ROWS if r.attack in {"", "loss"}]
    with pytest.raises(DataError, match="table ranking: fewer than two attacks"):
        ranking(rows, scored(rows))
