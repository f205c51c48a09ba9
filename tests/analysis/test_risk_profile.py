"""Four risks, interpolated at one perplexity."""

from dataclasses import replace

import pytest

from byheart.core.errors import DataError
from byheart.figures.risks import risks as drawn
from byheart.tables.risks import risks
from testing.made_up import study

# By method: validation perplexity after each epoch, and the excess of each risk above 0 at that epoch.
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
                reported = {"metric": metric, "attack": attack, "metric_settings": settings}
                if metric not in without:
                    found.append(replace(row, **reported, value=value, low=value - 0.05, high=value + 0.05))
    return found


def line(table, method, perplexity):
    at = {name: i for i, name in enumerate(table.header)}
    return next(
        dict(zip(at, row, strict=True))
        for row in table.rows
        if (row[at["method"]], row[at["perplexity"]]) == (method, perplexity)
    )


def test_each_risk_is_interpolated_at_one_perplexity():
    table = risks(measured())
    full, prompt = (line(table, method, "20.00") for method in ("full", "prompt"))
    assert full["membership"] == "0.700* [0.650, 0.750]"
    assert full["extraction"].startswith("0.200*")
    assert full["attributes"].startswith("0.200*")
    assert full["canaries"].startswith("1.64*")
    assert full["leaks by"] == "membership, extraction, attributes, canaries"
    assert prompt["membership"] == "0.500 [0.450, 0.550]"
    assert prompt["leaks by"] == "none"


def test_between_epochs_risks_are_interpolated_in_log_perplexity():
    near = [replace(r, low=r.value - 0.25, high=r.value + 0.25) if r.metric == "auc" else r for r in measured()]
    at = line(risks(near, perplexity=20 / 2**0.5), "full", "14.14")
    assert at["membership"].startswith("0.800 [0.450, ")
    far = line(risks(measured(), perplexity=20 / 2**0.5), "full", "14.14")
    assert far["membership"] == "not observed closely"
    there = line(risks(measured(), perplexity=20 / 2**0.5), "prompt", "14.14")
    assert there["membership"] == there["canaries"] == "not reached"


def test_the_risks_that_detect_a_leak_are_named():
    quiet = [replace(r, value=0.5, low=0.45, high=0.55) if r.metric == "auc" else r for r in measured()]
    assert line(risks(quiet), "full", "20.00")["leaks by"] == "extraction, attributes, canaries"


def test_intervals_are_corrected_for_the_number_of_entries():
    close = [replace(r, low=r.value - 0.17) if r.metric == "extraction_excess" else r for r in measured()]
    cell = line(risks(close), "full", "20.00")["extraction"]
    assert cell.startswith("0.200 ["), "above nothing alone, but not among eight"


def test_one_risk_gives_no_profile():
    with pytest.raises(DataError, match="risks: 1 of 4"):
        risks(measured(without={"extraction_excess", "attribute_inference", "exposure"}))


def test_the_figure_shows_the_tables_numbers():
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
