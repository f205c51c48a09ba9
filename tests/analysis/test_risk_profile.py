"""Four risks beside one another, read where methods reach one perplexity."""

from dataclasses import replace

import pytest

from byheart.core.errors import DataError
from byheart.figures.risks import risks as drawn
from byheart.tables.risks import risks
from testing.made_up import study

# By method: validation perplexity after each epoch, and how far each risk is above nothing then.
PATHS = {"full": ((40.0, 20.0, 10.0), (0.0, 0.2, 0.4)), "prompt": ((40.0, 30.0, 20.0), (0.0, 0.0, 0.0))}
NOTHING = {
    ("auc", "loss", ""): 0.5,
    ("extraction_excess", "discoverable", ""): 0.0,
    ("attribute_inference", "", "kind=all, measure=advantage, over=nonmembers"): 0.0,
    ("exposure", "", "repeated=16"): 1.44,
}


def measured(*, without=()):
    some = study(methods=("full",), epochs=(1,))[0]
    found = []
    for method, (perplexities, risen) in PATHS.items():
        for epoch, (perplexity, more) in enumerate(zip(perplexities, risen, strict=True)):
            row = replace(
                some, method=method, cell=method, epoch=epoch, attack="", attack_settings="", metric_settings=""
            )
            found.append(replace(row, metric="perplexity", value=perplexity, low=perplexity - 1, high=perplexity + 1))
            for (metric, attack, settings), nothing in NOTHING.items():
                value = nothing + more
                told = {"metric": metric, "attack": attack, "metric_settings": settings}
                if metric not in without:
                    found.append(replace(row, **told, value=value, low=value - 0.05, high=value + 0.05))
    return found


def line(table, method, perplexity):
    at = {name: i for i, name in enumerate(table.header)}
    return next(
        dict(zip(at, row, strict=True))
        for row in table.rows
        if (row[at["method"]], row[at["perplexity"]]) == (method, perplexity)
    )


def test_each_risk_is_read_where_the_methods_reach_one_perplexity():
    table = risks(measured())
    full, prompt = (line(table, method, "20.00") for method in ("full", "prompt"))
    assert full["membership"] == "0.700* [0.650, 0.750]"
    assert full["extraction"].startswith("0.200*")
    assert full["attributes"].startswith("0.200*")
    assert full["canaries"].startswith("1.64*")
    assert full["leaks by"] == "membership, extraction, attributes, canaries"
    assert prompt["membership"] == "0.500 [0.450, 0.550]"
    assert prompt["leaks by"] == "none"


def test_between_epochs_it_is_read_along_the_logarithm_of_perplexity():
    near = [replace(r, low=r.value - 0.25, high=r.value + 0.25) if r.metric == "auc" else r for r in measured()]
    at = line(risks(near, perplexity=20 / 2**0.5), "full", "14.14")
    assert at["membership"].startswith("0.800 [0.450, ")
    far = line(risks(measured(), perplexity=20 / 2**0.5), "full", "14.14")
    assert far["membership"] == "not observed closely"
    there = line(risks(measured(), perplexity=20 / 2**0.5), "prompt", "14.14")
    assert there["membership"] == there["canaries"] == "not reached"


def test_where_the_risks_disagree_it_says_which_of_them_see_a_leak():
    quiet = [replace(r, value=0.5, low=0.45, high=0.55) if r.metric == "auc" else r for r in measured()]
    assert line(risks(quiet), "full", "20.00")["leaks by"] == "extraction, attributes, canaries"


def test_an_interval_is_widened_for_all_that_stand_beside_it():
    close = [replace(r, low=r.value - 0.17) if r.metric == "extraction_excess" else r for r in measured()]
    cell = line(risks(close), "full", "20.00")["extraction"]
    assert cell.startswith("0.200 ["), "above nothing alone, but not among eight"


def test_one_risk_has_nothing_to_stand_beside():
    with pytest.raises(DataError, match="risks: 1 of 4"):
        risks(measured(without={"extraction_excess", "attribute_inference", "exposure"}))


def test_the_figure_draws_what_the_table_says():
    figure = drawn(measured())
    points = {(p["risk"], p["series"]): p for p in figure.data["risks"]}
    assert len(points) == 8
    for (risk, method), point in points.items():
        shown = line(risks(measured()), method, "20.00")[risk].replace("*", "")
        assert float(shown.split(" ")[0]) == pytest.approx(point["value"], abs=5e-3)
    assert points["canaries", "full"]["nothing"] == pytest.approx(1.4427, abs=1e-4)
    assert b"<svg" in figure.picture("svg")[:200]


def test_a_figure_of_one_risk_is_refused():
    with pytest.raises(DataError, match="risks: 1 of 4"):
        drawn(measured(without={"extraction_excess", "attribute_inference", "exposure"}))
