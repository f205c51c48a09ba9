"""Rows of initialized methods have epoch 0 and never count as the base model: only comparisons at equal utility read them."""

import itertools
from dataclasses import replace

import pytest

from byheart.analysis.base_model_check import panel_gates
from byheart.analysis.exposed_records import exposed_records
from byheart.analysis.verdicts import verdict_lines
from byheart.cli.terminal import trajectories
from byheart.core import registry
from byheart.core.errors import DataError
from byheart.figures.frontier import frontier
from byheart.report.exhibits import ReportContent, make_figures, make_tables
from byheart.store.rows import filter_rows, last_epoch_rows
from testing.made_up import attributed, canary_rows, everything, recited, study

ROWS = study(datasets=("webnlg",), methods=("full", "prompt"), seeds=(0, 1))
ROWS += list(canary_rows(ROWS)) + attributed(ROWS)
ROWS += [
    r
    for row in [r for r in ROWS if r.metric == "perplexity" and not r.attack]
    for r in recited(row, epoch=row.epoch)
    if r.attack == "discoverable"
]
INITIALIZED = [
    replace(r, initialized=True, value=0.97 * r.value + 0.02, low=0.9, high=0.99)
    for r in ROWS
    if r.epoch == 0 and r.method == "prompt"
]
READERS = {"tables": {"matched_utility", "risks"}, "figures": {"frontier", "risks"}}


def content(rows):
    """The rows in order, and the rows with the initialized ones first, so that a first match would be one of them."""
    return ReportContent(**everything(rows))


@pytest.fixture(scope="module")
def both():
    return content(ROWS), content([*INITIALIZED, *ROWS])


def test_no_table_counts_them_as_the_base_model(both):
    without, within = (make_tables(c) for c in both)
    assert without.keys() == within.keys()
    assert len(without) > 12
    for name, table in without.items():
        if name.split(" ")[0] not in READERS["tables"]:
            assert within[name] == table, name


def test_no_figure_counts_them_as_the_base_model(both):
    without, within = (make_figures(c) for c in both)
    assert without.keys() == within.keys()
    for name, figure in without.items():
        if name.split(" ")[0] not in READERS["figures"]:
            assert within[name].picture("svg") == figure.picture("svg"), name


def test_no_verdict_counts_them_as_the_base_model(both):
    for stated in (
        lambda c: verdict_lines(c.rows, c.scores, panel_gates(c.rows, c.scores, c.gates)),
        lambda c: trajectories(c.rows, color=False),
        lambda c: exposed_records(c.rows, c.scores, set()),
        lambda c: last_epoch_rows(c.rows, "auc"),
    ):
        first, second = map(stated, both)
        assert first == second


def test_the_frontier_begins_a_path_where_its_prompt_is_initialized():
    rows = [*ROWS, *INITIALIZED]
    path = [
        p
        for p in frontier(rows).data["points"]
        if (p["series"], p["attack"], p["metric"], p["seed"]) == ("prompt", "Loss", "ROC AUC", "")
    ]
    assert [(p["epoch"], p.get("initialized", False)) for p in path] == [
        (0, False),
        (0, True),
        (1, False),
        (2, False),
        (3, False),
    ]
    assert path[1]["perplexity"] == pytest.approx(0.97 * 20 + 0.02)
    drawn, before = (frontier(r).picture("svg").decode() for r in (rows, ROWS))
    points = [text.count('aria-roledescription="point"') for text in (drawn, before)]
    assert points[0] == points[1], "the initialized prompt in place of the base model"
    assert drawn != before


def test_they_are_selected_by_their_column():
    rows = [*ROWS, *INITIALIZED]
    assert filter_rows(rows, ["initialized=True"]) == INITIALIZED
    with pytest.raises(DataError):
        filter_rows(rows, ["initialized=True", "method=full"])


def test_every_shelf_entry_that_reads_them_declares_it():
    for shelf, names in READERS.items():
        assert set(itertools.chain(names)) <= set(registry.entry_names(shelf))
