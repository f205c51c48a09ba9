"""Verdicts of an audit (leaks, differs, nothing) and their false positive rates."""

import json
import math
import re

import numpy as np
import pytest
from scipy.special import logit, ndtr, ndtri
from transformers import AutoTokenizer

import byheart
from byheart.auditing.fail_bounds import Bound, crossed_bounds
from byheart.auditing.verdict import Ruling, ruling, smallest_detectable_auc
from byheart.core.split_check import ASSIGNMENT, Finding, Gate
from byheart.core.types import Row
from byheart.stats.intervals import holm_by_name
from byheart.stats.leakage_tests import RecordLabels, compare_with_blind, p_value_auc_above, p_value_auc_above_blind
from byheart.stats.roc_auc import auc_interval
from testing.audited import MEMBERS, NONMEMBERS, opened, records, refusal


def test_the_verdict_is_leaks_only_for_a_leaking_model(base, saved, command):
    assert command("--model", saved / "full", "--base", base)[1].startswith("leaks: ")
    calm = command("--model", base, "--attacks", "loss,min_k")
    assert calm[1].startswith("no leakage detectable by these attacks at this power (smallest detectable AUC: 0.7")


def test_a_bound_that_is_crossed_exits_with_3(base, saved, command):
    words = ("--model", saved / "full", "--base", base, "--attacks", "loss")
    code, _, complaints = command(*words, "--fail-above", "auc=0.6")
    assert code == 3
    assert "bound exceeded: auc of loss is" in complaints
    assert "above 0.6" in complaints
    assert command(*words, "--fail-above", "auc=0.99999")[0] == 0
    assert command(*words, "--fail-above", "auc=0.6", "--fail-above", "auc=0.99")[0] == 3
    code, _, complaints = command(*words, "--fail-above", "tpr_at_fpr=0.01", "--fpr", "0.2")
    assert code in (0, 3)


def test_a_bound_counts_by_the_lower_end_of_the_interval():
    class Found:
        rows = (_row("auc", 0.8, 0.61, 0.9), _row("auc", 0.7, 0.55, 0.8, attack="min_k"))
        ruling = Ruling("leaks", "", "loss")

    over, near = crossed_bounds(Found(), [Bound("auc", 0.6)])
    assert [t.split(" is ")[0] for t in over] == ["auc of loss"]
    assert [t.split(" is ")[0] for t in near] == ["auc of min_k"]


def test_few_texts_give_numbers_and_no_verdict(base, saved, files, command):
    records(files / "ten.jsonl", [{"text": t} for t in MEMBERS[:10]])
    records(files / "nine.jsonl", [{"text": t} for t in NONMEMBERS[:9]])
    words = ("--model", saved / "full", "--base", base, "--json")
    reported = json.loads(command(*words, members="ten.jsonl", nonmembers="nine.jsonl")[1])
    assert reported["verdict"] == "refused"
    assert "smallest detectable AUC: 0." in reported["sentence"]
    assert reported["gate"] is None
    assert reported["rows"]
    limit = (*words, "--fail-above", "auc=0.5")
    assert "auc=0.5" in refusal(command(*limit, members="ten.jsonl", nonmembers="nine.jsonl"))


def test_copies_and_truncated_texts_are_reported_first(base, saved):
    found = byheart.audit(
        opened(base, saved, "lora"),
        AutoTokenizer.from_pretrained(base),
        [*MEMBERS, MEMBERS[0]],
        NONMEMBERS,
        attacks=["loss"],
        max_tokens=12,
    )
    assert found.warnings[0] == (
        "1 of 33 member texts are duplicates of other member texts; duplicates count as one group"
    )
    assert "12 tokens" in found.warnings[1]
    assert re.search("TPR at 1 % FPR.*100 non-members", found.warnings[2])


def _row(metric, value, low, high, attack="loss", epoch=1, settings=""):
    names = ("base", "dataset", "dataset_settings", "method", "method_settings", "training_settings", "cell", "scores")
    return Row(
        **dict.fromkeys(names, ""),
        seed=0,
        epoch=epoch,
        attack=attack,
        attack_settings="",
        metric=metric,
        metric_settings=settings,
        value=value,
        low=low,
        high=high,
        members=1,
        nonmembers=1,
    )


def sides_of(members, nonmembers):
    total = members + nonmembers
    return RecordLabels(np.arange(total) < members, tuple(map(str, range(total))))


def judged(shift, base_shift, *, size=200, attacks=("loss",), tpr=None):
    sides = sides_of(size, size)
    drawn = np.random.default_rng(3).normal(size=(len(attacks), 2 * size))
    now = {n: drawn[i] + shift * sides.membership for i, n in enumerate(attacks)}
    before = {} if base_shift is None else {n: drawn[i] + base_shift * sides.membership for i, n in enumerate(attacks)}
    rows = [_row("auc", 0.8, 0.7, 0.9, attack=n) for n in attacks]
    rows += [] if tpr is None else [_row("tpr_at_fpr", *tpr, attack=n) for n in attacks]
    return ruling(now, before, rows, sides, None)


def test_the_rules_of_the_verdict():
    assert judged(1.0, 0.0).word == "leaks"
    assert judged(1.0, None).word == "leaks"
    assert judged(1.0, 1.0).word == "differs"  # the base separates them as well
    assert judged(0.0, 0.0).word == "nothing"
    assert judged(3.0, 0.0, size=19).word == "refused"
    assert judged(1.0, 0.0, tpr=(0.23, 0.18, 0.29)).sentence == (
        "leaks: at 1 % false positive rate, loss identifies 23 % (18\N{EN DASH}29 %) of the members; "
        "loss ranks a member above a non-member in 80 % (70\N{EN DASH}90 %) of pairs (chance: 50 %)"
    )
    assert judged(1.0, 0.0, tpr=(0.02, 0.0, 0.06)).sentence == (
        "leaks: loss ranks a member above a non-member in 80 % (70\N{EN DASH}90 %) of pairs (chance: 50 %)"
    )
    for word in ("private", "safe"):
        assert all(word not in judged(*how).sentence for how in ((1.0, 0.0), (1.0, 1.0), (0.0, 0.0)))


WORDS_ALONE = Finding("blind: words", "doubtful", "", "words differ", 0.588, 0.531, 0.643, 0.004)


def judged_with(finding, auc, *, size=200, base=False):
    """The verdict on an attack with this AUC, with the split check's finding; scores are quantiles, so the AUC is exact."""
    sides = sides_of(size, size)
    quantiles = ndtri((np.arange(size) + 0.5) / size)
    scores = np.concatenate([quantiles + math.sqrt(2) * ndtri(auc), quantiles])
    before = {"loss": np.concatenate([quantiles, quantiles])} if base else {}
    rows = [_row("auc", auc, auc - 0.055, auc + 0.055)]
    return ruling({"loss": scores}, before, rows, sides, Gate(size, size, (finding,)))


def test_an_attack_no_better_than_a_bag_of_words_does_not_leak():
    for base in (False, True):
        same = judged_with(WORDS_ALONE, 0.60, base=base)
        assert same.word == "differs"
        assert same.attack == "loss"
        assert same.sentence == (
            "not shown to leak beyond the texts: loss separates members from non-members (AUC 0.60), but not "
            "significantly better than words alone, without the model (blind AUC 0.59 [0.53, 0.64])"
        )
        assert judged_with(WORDS_ALONE, 0.75, base=base).word == "leaks"
    assert judged_with(WORDS_ALONE, 0.5).word == "nothing"


def test_a_blind_classifier_at_chance_stops_only_small_aucs():
    fair = Finding("blind: words", "sound", "", "", 0.5, 0.43, 0.57, 0.5)
    assert judged_with(fair, 0.58).word == "leaks"
    # After a random assignment only a classifier that separates the classes counts.
    drawn = Finding(ASSIGNMENT, "sound", "", "", 1.0)
    assert Gate(9, 9, (fair, drawn)).compared_classifiers == ()
    assert Gate(9, 9, (fair, WORDS_ALONE, drawn)).compared_classifiers == (WORDS_ALONE,)
    assert Gate(9, 9, (fair, WORDS_ALONE)).compared_classifiers == (fair, WORDS_ALONE)


def test_the_p_value_above_a_blind_classifier():
    """By formula: the difference of logits divided by the root of the summed variances."""
    sides = sides_of(150, 150)
    scores = np.random.default_rng(1).normal(size=300) + 0.5 * sides.membership
    value, (low, high) = auc_interval(scores, *sides)
    error, blind_error = ((logit(b) - logit(a)) / 2 / 1.959964 for a, b in ((low, high), (0.53, 0.65)))
    expected = ndtr((logit(0.592) - logit(value)) / math.hypot(error, blind_error))
    blind = Finding("blind: words", "sound", "", "", 0.592, 0.53, 0.65)
    assert p_value_auc_above_blind(scores, sides, blind) == pytest.approx(expected, rel=0.05)
    assert compare_with_blind(scores, sides, [blind, WORDS_ALONE]).classifier == blind
    exact = Finding("blind: words", "sound", "", "", 0.5, 0.5, 0.5)
    assert p_value_auc_above_blind(scores, sides, exact) == pytest.approx(
        p_value_auc_above(scores, sides, 0.5), rel=0.02
    )
    assert p_value_auc_above_blind(-scores, sides, blind) == 1
    perfect = sides.membership.astype(float)
    assert p_value_auc_above_blind(perfect, sides, blind) < 1e-4
    assert p_value_auc_above_blind(perfect, sides, Finding("blind: words", "sound", "", "", 1.0, 0.97, 1.0)) == 1


@pytest.mark.usefixtures("many_calls")
def test_many_attacks_at_chance_have_the_nominal_false_positive_rate():
    """Twelve attacks at chance: at most 2.5 % of audits may report a leak."""
    sides, chance = sides_of(40, 40), np.random.default_rng(0)
    names = [f"a{i}" for i in range(12)]
    rows = [_row("auc", 0.6, 0.5, 0.7, attack=n) for n in names]
    alarms = sum(
        ruling({n: chance.normal(size=80) for n in names}, {}, rows, sides, None).word == "leaks" for _ in range(200)
    )
    assert alarms <= 10  # Binomial(200, .025) is above 10 once in 80


def test_the_reported_power_is_that_of_corrected_tests():
    sides = sides_of(50, 50)
    assert smallest_detectable_auc(sides, 10) > smallest_detectable_auc(sides, 1)
    together = RecordLabels(sides.membership, tuple(str(i // 2) for i in range(100)))
    assert smallest_detectable_auc(together, 1) > smallest_detectable_auc(sides, 1)
    assert holm_by_name({"a": 0.01, "b": 0.04}) == {"a": 0.02, "b": 0.04}
    assert math.isclose(
        smallest_detectable_auc(sides, 1), 0.5 + (1.959964 + 0.8416212) * math.sqrt(101 / (12 * 2500)), rel_tol=1e-6
    )
