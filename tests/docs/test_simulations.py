"""A quick, seeded part of the simulations, and the page with the results of all."""

import json

import numpy as np
import pytest
from scipy.special import ndtr

from simulations import __main__ as command
from simulations import (
    alarm_tables,
    alarms,
    attributes,
    blind,
    draws,
    exposure,
    groups,
    guesses,
    intervals,
    near_copies,
    pass_bounds,
    pieces,
    planted,
    planted_table,
    reversed_verdicts,
    table_parts,
    tables,
    utility,
    verdicts,
)

pytestmark = pytest.mark.usefixtures("many_calls")
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
        *blind.pieces(),
        *pass_bounds.pieces(),
        *reversed_verdicts.pieces(),
        *planted.pieces(),
        *verdicts.pieces(),
    )
}
QUICK = (
    "planted | no leakage | 240",
    "pass | one attack, groups of five | 300",
    "pass | 5 attacks, one at the bound, correlation 0.5 | 300",
    "pass power | AUC below 0.6, 1 attack | 180",
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
    "reversed, forgotten | no difference | 150",
    "reversed | no difference, without blind classifiers | 150",
)
CONSERVATIVE = ("TPR at 1 % FPR", "TPR at 10 % FPR", "from numbers", "from scores", "difference of two AUCs")


def expected(piece, name):
    """The limits of a rate; None without a guarantee."""
    if piece.table == "power":
        return (0.76, 0.84) if name in alarm_tables.REACHED else None
    if piece.table in {"guesses", "outright", "runs"}:
        if name in alarm_tables.BOUNDS and "left out" not in name:
            return alarm_tables.LEAST_BOUND, 1
        # Not vacuous: with 300 canaries or 1,000 runs most bounds are informative.
        return (0.5, 1) if "above" in name and piece.texts >= 300 else None
    if piece.table.startswith(
        (
            "groups",
            "attributes",
            "exposure",
            "utility",
            "near copies",
            "blind",
            "reversed",
            "pass",
            "planted",
            "verdicts",
        )
    ):
        return expected_from_split(piece, name)
    if name in alarms.NOMINAL:
        chance = piece.table != "scores" or piece.population.startswith("AUC 0.5")
        return (0, alarms.NOMINAL[name] + table_parts.ALLOWANCE) if chance and alarms.FLAWED not in name else None
    return table_parts.LEAST, 1 if name in CONSERVATIVE else 0.965


def expected_from_split(piece, name):
    """The same for tables of complete paths."""
    for start, expected_of in OF_AUDITS.items():
        if piece.table.startswith(start):
            return expected_of(piece, name)
    if piece.table == "blind":
        above = (0, blind.NOMINAL_ABOVE + table_parts.ALLOWANCE) if name.endswith("interval above") else None
        return (table_parts.LEAST, 1) if name in blind.CLASSIFIERS else above
    if piece.table == "near copies":
        return expected_of_near_copies(piece) if name == near_copies.REMOVED else None
    if piece.table == "exposure":
        return (table_parts.LEAST, 1) if name == "interval" else None
    if piece.table.startswith("utility"):
        return expected_at_equal_perplexity(piece, name)
    is_groups = piece.table != "attributes"
    return expected_of_groups(piece.table, name) if is_groups else expected_advantage(piece.population, name)


def expected_of_canaries(piece, name):
    """The bound holds for every mechanism; without leakage, no number claims it more often than nominal."""
    if name == "bound holds":
        return 0.95 - table_parts.ALLOWANCE, 1
    return (0, planted_table.CLAIMS[name] + table_parts.ALLOWANCE) if piece.population == "no leakage" else None


def expected_of_verdicts(piece, name):
    """No false leak, whatever the planted difference of the texts; a leak of comparable texts is found."""
    if name not in {"leaks, base", "leaks, no base"}:
        return None
    return (0.8, 1) if piece.table == "verdicts, leak" else (0, 0.025 + table_parts.ALLOWANCE)


def expected_of_bounds(piece, name):
    """No more false passes than nominal, with the split check for a hidden leak too, and the predicted power at chance."""
    if piece.table == "pass power":
        predicted = pass_bounds.told(piece.population)[1]
        return predicted - 0.04, predicted + 0.04 if pass_bounds.EXACT in piece.population else 1
    if piece.table == "pass" or piece.population.endswith("AUC 0.6"):
        return 0, pass_bounds.NOMINAL + table_parts.ALLOWANCE
    return (0.5, 1) if piece.population.startswith("no difference") else None


def expected_in_reverse(piece, name):
    """No false claim in either direction; a model that forgot the members leaks in reverse, and an alarm is raised."""
    if piece.table == "reversed" or name.startswith("leaks"):
        return 0, reversed_verdicts.NOMINAL[name] + table_parts.ALLOWANCE
    return None if name == "reversed, no base" else (0.8, 1)


OF_AUDITS = {
    "planted": expected_of_canaries,
    "verdicts": expected_of_verdicts,
    "pass": expected_of_bounds,
    "reversed": expected_in_reverse,
}


def expected_of_near_copies(piece):
    """Only copies are removed; two swapped sentences of five units are too short to be detected."""
    is_copy = near_copies.NO_COPY not in piece.population
    is_missed = "swapped" in piece.population and piece.texts == 10
    return (0.999, 1) if is_copy and not is_missed else (0, 0.001)


def expected_at_equal_perplexity(piece, name):
    """Few observed states give no value, many give a correct one; a study without a value has no interval."""
    is_close = "11 states" in piece.population
    if name in {"value", "covered"} and is_close:
        return 0.7, 1
    if name == "differs":
        return (0.7, 1) if piece.table == "utility more" else (0, 0.05)
    return None


def expected_of_groups(table, name):
    """Coverage and few refusals for complete groups; a class sampled by text is refused. A refused study has no interval."""
    if name == "refused":
        return (0.99, 1) if table == "groups by text" else (0, 0.01 + table_parts.ALLOWANCE)
    if table == "groups":
        return (0, 0.025 + table_parts.ALLOWANCE) if "above" in name else (table_parts.LEAST - 0.01, 1)
    return (0.2, 1) if "above" in name else None


def expected_advantage(model, name):
    """No alarm if the advantage is 0, and power if the model associates values with persons."""
    if name in attributes.promised(model):
        return 0, attributes.NOMINAL + table_parts.ALLOWANCE
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
def test_rates_are_within_their_limits(name):
    judge(ALL[name], 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, p in ALL.items() if p.table not in {"gate", "blind", "pass path"}])
def test_rates_are_within_their_limits_everywhere(name):
    judge(ALL[name], 5)


def test_the_page_contains_the_simulated_tables():
    results = json.loads(command.RESULTS.read_text())
    assert set(results["pieces"]) == set(ALL), "write make simulate"
    assert tables.text(results["pieces"]) in tables.PAGE.read_text()


def test_a_lot_is_reproducible_and_differs_from_others():
    piece = pieces.Piece("any", "coin", 1, lambda chance: {"heads": bool(chance.random() < 0.5)})
    assert piece.counted(3) == piece.counted(3)
    assert len({piece.counted(n)["heads"] for n in range(8)}) > 1


@pytest.mark.parametrize(("present", "lots"), [(0.5, [0]), (0.6, [0, *range(5)])])
def test_changed_code_is_simulated_anew_only_if_it_changes_the_first_lot(tmp_path, monkeypatch, present, lots):
    def coin(share, counted=None):
        class Counting(pieces.Piece):
            def counted(self, number):
                if counted is not None:
                    counted.append(number)
                return super().counted(number)

        made = Counting("any", "coin", 1, lambda chance: {"heads": bool(chance.random() < share)})
        return command.Part((lambda: iter([made]),), (), ())

    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(command.tables, "write", lambda _: None)
    monkeypatch.setattr(command, "code", lambda _: "old")
    monkeypatch.setattr(command, "PARTS", {"coins": coin(0.5)})
    command.main(2000, ["coins"])
    before = json.loads(command.RESULTS.read_text())
    monkeypatch.setattr(command, "code", lambda _: "new")
    counted = []
    monkeypatch.setattr(command, "PARTS", {"coins": coin(present, counted)})
    command.main(2000, ["coins"])
    after = json.loads(command.RESULTS.read_text())
    assert counted == lots
    assert after["code"] == {"coins": "new"}
    assert (after["pieces"] == before["pieces"]) == (present == 0.5)


def test_counts_are_compared_with_their_uncertainty():
    assert pieces.may_be(380, 400, 0.94, 0.96)
    assert pieces.may_be(362, 400, 0.94, 0.96)
    assert not pieces.may_be(3620, 4000, 0.94, 0.96)
    assert not pieces.may_be(400, 400, 0.94, 0.96)
    assert pieces.may_be(400, 400, 0.94, 1)


@pytest.mark.parametrize("population", intervals.POPULATIONS.values())
def test_the_true_value_of_a_population_equals_that_of_many_texts(population):
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
def test_the_true_loss_of_a_population_equals_that_of_many_texts(readings):
    evidence = readings.evidence(100_000, np.random.default_rng(0))
    assert -evidence.logp.mean() == pytest.approx(readings.truth, abs=0.03)
