"""When the callback reports a leak or rising leakage: p-values over attacks and evaluations, false alarm rates."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from byheart.auditing.training.alarms import (
    Evaluation,
    leaking_attacks,
    rising_attacks,
    separable_on_base,
    stop_reason,
)
from byheart.core.split_check import Finding, Gate
from byheart.core.types import Row
from byheart.stats.leakage_tests import ALPHA, RecordLabels, p_value_auc_above, significant_attacks
from byheart.stats.roc_auc import auc_interval


def looks_of(generator, *, texts, count, attacks=3, gain=0.0, perplexities=()):
    """Evaluations whose scores are correlated over time and attacks, as those of one model on the same texts are."""
    members = np.arange(2 * texts) < texts
    shared, past = generator.normal(size=2 * texts), []
    for k in range(count + 1):
        found = {
            str(a): 0.6 * shared + 0.8 * generator.normal(size=2 * texts) + gain * k * members for a in range(attacks)
        }
        useful = [perplexity_row(perplexities[k])] if perplexities else []
        past.append(Evaluation(k, float(k), found, tuple(useful)))
    return past, RecordLabels(members, tuple(map(str, range(2 * texts))))


def perplexity_row(value):
    kinds = {
        "bool": False,
        "str": "",
        "int": 0,
        "int | None": 0,
        "int | float | None": 0,
        "float | None": None,
        "float": value,
    }
    return Row(**{**{name: kinds[kind] for name, kind in Row.__annotations__.items()}, "metric": "perplexity"})


def test_p_values_agree_with_intervals():
    generator = np.random.default_rng(0)
    for gain in (0.3, 1.0, 9.0):  # the last one separates perfectly: Hoeffding's bound
        past, sides = looks_of(generator, texts=40, count=1, gain=gain)
        scores = past[1].scores["0"]
        _, (low, _) = auc_interval(scores, *sides)
        assert p_value_auc_above(scores, sides, low) == pytest.approx(0.025, rel=1e-3)
    assert p_value_auc_above(-scores, sides, 0.5) > 0.99


def test_p_values_are_corrected_over_all_attacks_and_evaluations():
    p_values = {"a": 0.004, "b": 0.0009, "c": 0.5, "d": 0.0024}
    for looks in (1, 4, 10):
        kept, left = set(), len(p_values)
        for name in sorted(p_values, key=p_values.get):  # Holm, step by step
            if p_values[name] * left * looks > ALPHA:
                break
            kept.add(name)
            left -= 1
        assert set(significant_attacks(p_values, looks)) == kept
    assert significant_attacks(p_values, 1) == ("a", "b", "d")
    assert significant_attacks(p_values, 10) == ("b",)


def test_repeated_evaluations_do_not_raise_the_false_alarm_rate():
    generator = np.random.default_rng(4)
    alarms = naive = 0
    for _ in range(150):
        past, sides = looks_of(generator, texts=40, count=8)
        alarms += any(leaking_attacks(past[: k + 1], sides, 8) for k in range(1, 9))
        naive += any(p_value_auc_above(s, sides, 0.5) < 0.025 for look in past[1:] for s in look.scores.values())
    assert alarms <= 14  # 5 % of 150 with room
    assert naive > 30


def test_a_leak_must_exceed_the_auc_on_the_base_model():
    past, sides = looks_of(np.random.default_rng(5), texts=80, count=2, attacks=1)
    skewed = [x._replace(scores={"0": x.scores["0"] + 2.0 * sides.membership}) for x in past]
    assert separable_on_base(skewed[0], sides) == ("0",)
    assert leaking_attacks(skewed, sides, 2) == ()
    assert leaking_attacks(skewed[1:], sides, 2) == ("0",)  # without an evaluation of the base model this is unknown
    more = [*skewed[:2], skewed[2]._replace(scores={"0": skewed[2].scores["0"] + 9.0 * sides.membership})]
    assert leaking_attacks(more, sides, 2) == ("0",)


@pytest.mark.parametrize(
    ("perplexities", "stops"), [((9.0, 8.0, 8.5), True), ((8.0, 8.0, 8.5), True), ((9.0, 8.0, 7.5), False), ((), False)]
)
def test_leakage_rises_only_after_the_best_validation_perplexity(perplexities, stops):
    past, sides = looks_of(np.random.default_rng(6), texts=80, count=2, gain=1.0, perplexities=perplexities)
    assert bool(rising_attacks(past, sides, 2)) == stops
    still, sides = looks_of(np.random.default_rng(7), texts=80, count=2, perplexities=(9.0, 8.0, 8.5))
    assert rising_attacks(still, sides, 2) == ()


def test_differences_between_texts_cause_no_alarm_and_no_stop():
    members = np.arange(400) < 200
    sides = RecordLabels(members, tuple(map(str, range(400))))
    generator = np.random.default_rng(0)
    quantiles = np.tile(ndtri((np.arange(200) + 0.5) / 200), 2)
    past = [
        Evaluation(k, float(k), {"loss": generator.permuted(quantiles) if not k else quantiles + 0.36 * members}, ())
        for k in range(2)
    ]
    assert leaking_attacks(past, sides, 1) == ("loss",)  # an AUC of 0.60
    words = Finding("blind: words", "doubtful", "", "words differ", 0.588, 0.531, 0.643, 0.004)
    doubtful = Gate(200, 200, (words,))
    broken = Gate(200, 200, (replace(words, verdict="broken", value=0.5, low=0.45, high=0.55),))
    assert leaking_attacks(past, sides, 1, doubtful) == ()
    assert stop_reason(past, sides, 1, 0.52, stop_when_rising=False)
    for gate in (doubtful, broken):
        assert leaking_attacks(past, sides, 1, gate) == ()
        assert stop_reason(past, sides, 1, 0.52, gate, stop_when_rising=False) == ""
