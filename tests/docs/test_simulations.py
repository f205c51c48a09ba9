"""A quick, seeded share of the simulations, and the page that tells of all of them."""

import json

import numpy as np
import pytest
from scipy.special import ndtr

from simulations import __main__ as command
from simulations import alarms, draws, guesses, intervals, pieces, tables

ALL = {p.name: p for p in (*intervals.pieces(), *alarms.pieces(), *guesses.pieces())}
QUICK = (
    "scores | AUC 0.5 | 100",
    "scores | AUC 0.95, ties | 100",
    "scores | AUC 0.7, groups of five | 100",
    "readings | NLL and length log-normal, spread 0.75 | 100",
    "pairs | AUC 0.5 and 0.5 | 100",
    "pairs | AUC 0.7 and 0.75, groups of five | 100",
    "seeds | 3 seeds, 1, 0.9 | 300",
    "seeds | 5 seeds, 3, 0.5 | 300",
    "best | correlation 0.5 | 100",
    "study | one text a group | 100",
    "power | normal scores | 100",
    "guesses | randomised response, epsilon 1 | 300",
    "guesses | Gaussian noise, epsilon 4.4 | 300",
    "outright | 1 coin in 50 outright | 300",
    "runs | randomised response, epsilon 1 | 1000",
)
CONSERVATIVE = ("TPR at 1 % FPR", "TPR at 10 % FPR", "from numbers", "from scores")


def expected(piece, name):
    """Between which rates something must lie; None where nothing is promised."""
    if piece.table == "power":
        return (0.76, 0.84) if name in tables.REACHED else None
    if piece.table in {"guesses", "outright", "runs"}:
        if name in tables.BOUNDS and "left out" not in name:
            return tables.LEAST_BOUND, 1
        # Not vacuous: with 300 canaries or 1,000 runs most bounds say something.
        return (0.5, 1) if "above" in name and piece.texts >= 300 else None
    if name in alarms.NOMINAL:
        chance = piece.table != "scores" or piece.population.startswith("AUC 0.5")
        return (0, alarms.NOMINAL[name] + tables.ALLOWANCE) if chance and alarms.FLAWED not in name else None
    return tables.LEAST, 1 if name in CONSERVATIVE else 0.965


def judge(piece, lots):
    studies = lots * piece.lot
    counted = [piece.counted(number) for number in range(lots)]
    promised = {name: expected(piece, name) for name in counted[0]}
    assert any(promised.values()), f"{piece.name}: nothing is promised, so nothing would be judged"
    for name, bounds in promised.items():
        count = sum(one[name] for one in counted)
        assert bounds is None or pieces.may_be(count, studies, *bounds), f"{name}: {count} of {studies}"


@pytest.mark.parametrize("name", QUICK)
def test_what_is_promised_holds(name):
    judge(ALL[name], 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, p in ALL.items() if p.table != "gate"])
def test_what_is_promised_holds_everywhere(name):
    judge(ALL[name], 5)


def test_the_page_tells_what_was_simulated():
    results = json.loads(command.RESULTS.read_text())
    assert set(results["pieces"]) == set(ALL), "write make simulate"
    assert tables.text(results["pieces"]) in tables.PAGE.read_text()


def test_a_lot_is_the_same_twice_and_another_lot_is_not():
    piece = pieces.Piece("any", "coin", 1, lambda chance: {"heads": bool(chance.random() < 0.5)})
    assert piece.counted(3) == piece.counted(3)
    assert len({piece.counted(n)["heads"] for n in range(8)}) > 1


def test_counts_are_judged_by_how_sure_they_are():
    assert pieces.may_be(380, 400, 0.94, 0.96)
    assert pieces.may_be(362, 400, 0.94, 0.96)
    assert not pieces.may_be(3620, 4000, 0.94, 0.96)
    assert not pieces.may_be(400, 400, 0.94, 0.96)
    assert pieces.may_be(400, 400, 0.94, 1)


@pytest.mark.parametrize("population", intervals.POPULATIONS.values())
def test_the_truth_of_a_population_is_what_many_texts_say(population):
    scores, membership, _ = draws.drawn(population, 100_000, np.random.default_rng(0))
    members, nonmembers = scores[membership], np.sort(scores[~membership])
    below = np.searchsorted(nonmembers, members, "left") + np.searchsorted(nonmembers, members, "right")
    assert below.mean() / 2 / len(nonmembers) == pytest.approx(population.true_auc, abs=0.006)
    for fpr in (0.01, 0.1):
        threshold = population.threshold(fpr)
        assert (nonmembers > threshold).mean() <= fpr * 1.15
        assert (members > threshold).mean() == pytest.approx(population.true_tpr(fpr), abs=0.01)
        if not population.step:
            assert ndtr(-threshold) == pytest.approx(fpr)


@pytest.mark.parametrize("readings", intervals.READINGS.values())
def test_the_truth_of_readings_is_what_many_texts_say(readings):
    evidence = readings.evidence(100_000, np.random.default_rng(0))
    assert -evidence.logp.mean() == pytest.approx(readings.truth, abs=0.03)
