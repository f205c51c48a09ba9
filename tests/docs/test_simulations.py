"""A quick, seeded share of the simulations, and the page that tells of all of them."""

import json

import numpy as np
import pytest
from scipy.special import ndtr

from simulations import __main__ as command
from simulations import (
    alarms,
    attributes,
    draws,
    exposure,
    groups,
    guesses,
    intervals,
    near_copies,
    pieces,
    tables,
    utility,
)

ALL = {
    p.name: p
    for p in (
        *intervals.pieces(),
        *alarms.pieces(),
        *guesses.pieces(),
        *attributes.pieces(),
        *groups.pieces(),
        *exposure.pieces(),
        *utility.pieces(),
        *near_copies.pieces(),
    )
}
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
    "groups | groups of five, independent scores | 200",
    "groups | groups of geometric size, mean 3.3, independent scores | 200",
    "groups by text | groups of five, members drawn text by text | 200",
    "attributes | prefers trained values | 48",
    "attributes | prefers frequent values, 24 values | 48",
    "attributes | knows whose the values are | 48",
    "exposure | logistic | 20",
    "utility | leaks early, 11 states | 200",
    "utility more | leaks evenly, 11 states, slow method + 0.12 | 200",
    "near copies | Chinese, one unit changed | 20",
    "near copies | Latin, contained in a longer text | 10",
    "near copies | Arabic, no copy | 50",
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
    if piece.table.startswith(("groups", "attributes", "exposure", "utility", "near copies")):
        return expected_from_split(piece, name)
    if name in alarms.NOMINAL:
        chance = piece.table != "scores" or piece.population.startswith("AUC 0.5")
        return (0, alarms.NOMINAL[name] + tables.ALLOWANCE) if chance and alarms.FLAWED not in name else None
    return tables.LEAST, 1 if name in CONSERVATIVE else 0.965


def expected_from_split(piece, name):
    """The same for tables of whole paths."""
    if piece.table == "near copies":
        return expected_of_near_copies(piece) if name == near_copies.REMOVED else None
    if piece.table == "exposure":
        return (tables.LEAST, 1) if name == "interval" else None
    if piece.table.startswith("utility"):
        return expected_at_equal_perplexity(piece, name)
    is_groups = piece.table != "attributes"
    return expected_of_groups(piece.table, name) if is_groups else expected_advantage(piece.population, name)


def expected_of_near_copies(piece):
    """Every copy is removed and nothing else; two swapped sentences of five units are too short to be found."""
    is_copy = near_copies.NO_COPY not in piece.population
    is_missed = "swapped" in piece.population and piece.texts == 10
    return (0.999, 1) if is_copy and not is_missed else (0, 0.001)


def expected_at_equal_perplexity(piece, name):
    """Few observed states give no value, many give one that is right; a study without a value has no interval."""
    is_close = "11 states" in piece.population
    if name in {"value", "covered"} and is_close:
        return 0.7, 1
    if name == "differs":
        return (0.7, 1) if piece.table == "utility more" else (0, 0.05)
    return None


def expected_of_groups(table, name):
    """Coverage and few refusals of whole groups; a class drawn text by text is refused. A refused study counts as no interval."""
    if name == "refused":
        return (0.99, 1) if table == "groups by text" else (0, 0.01 + tables.ALLOWANCE)
    if table == "groups":
        return (0, 0.025 + tables.ALLOWANCE) if "above" in name else (tables.LEAST - 0.01, 1)
    return (0.2, 1) if "above" in name else None


def expected_advantage(model, name):
    """No alarm where the advantage is 0, and power where the model knows whose the values are."""
    if name in attributes.promised(model):
        return 0, attributes.NOMINAL + tables.ALLOWANCE
    return (0.9, 1) if attributes.MODELS[model].bound and name.startswith("trained") else None


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
