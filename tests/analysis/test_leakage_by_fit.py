"""Figure of leakage against fit: each point is an AUC row and the train perplexity of its cell and epoch."""

from dataclasses import replace

import pytest

from byheart.core.errors import DataError
from byheart.figures.leakage_by_fit import leakage_by_fit
from testing.made_up import fit_rows, study

ROWS = study(datasets=("xsum",), methods=("full", "prefix"), epochs=(0, 1, 3))
ROWS = [*ROWS, *fit_rows(ROWS)]


def test_each_trained_epoch_is_a_point_at_its_fit():
    (found,) = leakage_by_fit(ROWS).data.values()
    assert {(p["series"], p["epoch"]) for p in found} == {(m, e) for m in ("full", "prefix") for e in (1, 3)}
    for point in found:
        of_cell = [r for r in ROWS if (r.method, r.epoch) == (point["series"], point["epoch"])]
        (auc,) = (r for r in of_cell if (r.metric, r.attack) == ("auc", "loss"))
        (fit,) = (r for r in of_cell if r.metric == "train_perplexity")
        assert (point["value"], point["low"], point["high"], point["fit"]) == (auc.value, auc.low, auc.high, fit.value)


def test_another_attack_has_its_own_numbers():
    (found,) = leakage_by_fit(ROWS, attack="min_k").data.values()
    rows = {(r.method, r.epoch): r.value for r in ROWS if (r.metric, r.attack) == ("auc", "min_k")}
    assert {(p["series"], p["epoch"]): p["value"] for p in found} == {k: v for k, v in rows.items() if k[1]}


def test_seeds_are_one_point_at_their_mean():
    other = [replace(r, seed=1, cell=f"{r.cell}+", value=r.value + 0.02) for r in ROWS]
    (found,) = leakage_by_fit([*ROWS, *other]).data.values()
    (alone,) = leakage_by_fit(ROWS).data.values()
    assert len(found) == len(alone)
    for one, both in zip(alone, found, strict=True):
        assert both["value"] == pytest.approx(one["value"] + 0.01)
        assert both["fit"] == pytest.approx(one["fit"] + 0.01)


@pytest.mark.parametrize("metric", ["train_perplexity", "auc"])
def test_without_fit_or_attack_it_is_refused(metric):
    with pytest.raises(DataError, match=r"^figure"):
        leakage_by_fit([r for r in ROWS if r.metric != metric])


def test_epochs_without_fit_are_left_out():
    (found,) = leakage_by_fit([r for r in ROWS if (r.metric, r.epoch) != ("train_perplexity", 3)]).data.values()
    assert {p["epoch"] for p in found} == {1}
