"""Statements about many AUCs: simultaneous intervals, paired differences, gains, verdicts, the gate."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom

from byheart.analysis import row_values
from byheart.analysis.base_model_check import base_model_findings, gate_lines, panel_gates
from byheart.analysis.comparisons import LEAST_MARK, SIGNIFICANCE_MARK, auc_comparisons
from byheart.analysis.method_verdict import CLAIMS
from byheart.analysis.verdicts import verdicts
from byheart.core.errors import DataError
from byheart.core.split_check import ASSIGNMENT, Finding, Gate
from byheart.core.types import Row, ScoreSet
from byheart.stats.intervals import TAIL, hoeffding
from byheart.stats.power import detectable_auc
from byheart.stats.roc_auc import auc_difference, auc_interval
from byheart.stats.simultaneous import (
    auc_difference_over_seeds,
    has_same_texts,
    labels_of,
    p_value_auc_above,
    p_value_auc_differs,
    simultaneous_auc_interval,
    widen_interval,
)
from byheart.tables.attack_comparisons import attack_comparisons
from byheart.tables.comparisons import comparisons
from byheart.tables.gains import gains
from byheart.tables.methods import methods
from testing.made_up import everything, judged, scored, study

FEW = {"datasets": ("webnlg",), "methods": ("full", "prompt", "p_tuning"), "epochs": (0, 3)}


def drawn(rng, apart=0.0, *, count=60, groups=1):
    members = np.arange(2 * count) < count
    shared = np.repeat(rng.normal(size=2 * count // groups), groups) * (groups > 1)
    names = tuple(f"g{i // groups}" for i in range(2 * count))
    scores = rng.normal(size=2 * count) + shared + apart * members
    return ScoreSet(tuple(map(str, range(2 * count))), scores, members, names)


def line(table, *leading):
    columns = [i for i, title in enumerate(table.header) if title != "adversary has"]
    found = [row for row in table.rows if tuple(row[i] for i in columns)[: len(leading)] == leading]
    assert len(found) == 1, (leading, table.rows)
    return dict(zip(table.header, found[0], strict=True))


# --- simultaneous intervals


@pytest.mark.parametrize("apart", [0.0, 0.8, 20.0])
@pytest.mark.parametrize("groups", [1, 3])
def test_one_test_alone_has_the_interval_of_the_auc(apart, groups):
    stored = drawn(np.random.default_rng(1), apart, groups=groups)
    value, ends = auc_interval(stored.scores, stored.members, stored.groups)
    assert simultaneous_auc_interval(stored) == pytest.approx((value, *ends), abs=1e-9)


def test_intervals_and_p_values_agree():
    rng = np.random.default_rng(2)
    for apart in (0.0, 0.3, 0.6, 20.0, -20.0):
        stored = drawn(rng, apart, groups=2)
        _, low, high = simultaneous_auc_interval(stored)
        for truth in (0.2, 0.5, 0.6, 0.9):
            assert (p_value_auc_above(stored.scores, labels_of(stored), truth) < TAIL) == (low > truth)
            assert (p_value_auc_differs(stored, truth) < 2 * TAIL) == (low > truth or high < truth)


def test_a_simultaneous_interval_is_at_most_as_wide_as_a_union_bound():
    """One discordant text among 48 per class: Student's t with one degree of freedom gives an interval nearly down to 0."""
    scores, members = np.r_[np.arange(48.0) + 100, np.arange(48.0)], np.arange(96) < 48
    scores[0] = 20.5
    stored = ScoreSet(tuple(map(str, range(96))), scores, members)
    value, (low, _) = auc_interval(scores, members, stored.ids, tail=TAIL / 300)
    assert value > 0.98
    assert low < 0.05
    assert simultaneous_auc_interval(stored, tests=300).low == pytest.approx(
        hoeffding(value, 48.0, tail=0.1 * TAIL / 300)[0]
    )
    assert 0.7 < simultaneous_auc_interval(stored, tests=300).low < 0.8


@pytest.mark.parametrize(("texts", "truth"), [(48, 0.95), (300, 0.99)])
@pytest.mark.usefixtures("many_calls")
def test_simultaneous_intervals_have_nominal_coverage(texts, truth):
    """One of ten intervals misses in 0.5 % of 3,000 studies, a quarter of a percent at either end."""
    rng = np.random.default_rng(5)
    apart = np.sqrt(2) * ndtri(truth)
    members = np.arange(2 * texts) < texts
    ids = tuple(map(str, range(2 * texts)))
    missed = 0
    for _ in range(3000):
        stored = ScoreSet(ids, rng.standard_normal(2 * texts) + apart * members, members)
        _, low, high = simultaneous_auc_interval(stored, tests=10)
        missed += not low <= truth <= high
    assert missed <= binom.ppf(0.999, 3000, 0.005)


@pytest.mark.usefixtures("many_calls")
def test_many_intervals_cover_simultaneously():
    """Without the correction, the interval of the best of eight misses the true value on one side in about 18 % of studies."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(300):
        missed += any(simultaneous_auc_interval(drawn(rng), tests=8).low > 0.5 for _ in range(8))
    assert missed <= 18


def test_a_widened_share_stays_in_range_and_is_unchanged_for_one_test():
    assert widen_interval(0.2, 0.1, 0.35, 1) == pytest.approx((0.1, 0.35))
    low, high = widen_interval(0.2, 0.1, 0.35, 30)
    assert 0 <= low < 0.1
    assert 0.35 < high <= 1
    assert widen_interval(0.05, 0.01, 0.99, 1000) == (0.0, 1.0)


def test_smallest_auc_grows_with_the_number_of_tests():
    assert detectable_auc(200.0, 200.0) < detectable_auc(200.0, 200.0, tests=30) < 0.65


# --- pairs


def test_a_difference_of_one_seed_is_the_paired_test():
    rng = np.random.default_rng(4)
    first, second = drawn(rng, 0.5, groups=2), drawn(rng, groups=2)
    reported = auc_difference(first.scores, second.scores, first.members, first.groups)
    assert auc_difference_over_seeds([(first, second)]) == pytest.approx(reported)


def test_disagreeing_seeds_show_nothing_and_the_weakest_seed_counts():
    rng = np.random.default_rng(5)
    null, leak, weak = drawn(rng), drawn(rng, 3.0), drawn(rng, 0.4)
    assert auc_difference_over_seeds([(leak, null), (null, leak)]).p_value == 1.0
    both = auc_difference_over_seeds([(leak, null), (weak, null)])
    assert both.p_value == auc_difference_over_seeds([(weak, null)]).p_value
    assert both.low == auc_difference_over_seeds([(weak, null)]).low


def test_only_the_same_texts_are_compared():
    stored = drawn(np.random.default_rng(6))
    assert has_same_texts(stored, stored)
    assert not has_same_texts(stored, stored._replace(ids=stored.ids[::-1]))
    assert not has_same_texts(stored, stored._replace(members=~stored.members))
    rows = study(**FEW)
    known = scored(rows)
    others = {r.scores for r in rows if r.method == "full" and r.scores}
    strange = {k: known(k)._replace(ids=tuple(f"other {i}" for i in known(k).ids)) for k in others}
    found = auc_comparisons(rows, lambda key: strange.get(key) or known(key))
    assert {(p.first, p.second) for p in found if p.kind == "method"} == {("prompt", "P-tuning")}


def test_p_values_are_corrected_over_all_pairs_of_both_kinds():
    rows = study(**FEW)
    found = auc_comparisons(rows, scored(rows))
    assert len(found) == 3 * 5 + 10 * 3
    largest = 0.0
    for nth, pair in enumerate(sorted(found, key=lambda p: p.difference.p_value)):
        largest = max(largest, min(1.0, (len(found) - nth) * pair.difference.p_value))
        assert pair.p_value == pytest.approx(largest)


def test_only_significant_differences_are_marked():
    rows = study(**FEW)
    table = comparisons(rows, scored(rows))
    assert line(table, "WebNLG", "full \N{MINUS SIGN} prompt")["Loss"].startswith(f"0.322{SIGNIFICANCE_MARK} [")
    assert SIGNIFICANCE_MARK not in line(table, "WebNLG", "prompt \N{MINUS SIGN} P-tuning")["Loss"]
    assert "all 45 comparisons" in table.note
    attacks = attack_comparisons(rows, scored(rows))
    assert attacks.header == ("data", "attacks compared", "full", "prompt", "P-tuning")
    assert len(attacks.rows) == 10


def test_the_lowest_of_a_line_is_marked_with_those_not_significantly_higher():
    rows = study(**FEW)
    loss = line(methods(rows, scored(rows)), "WebNLG", "Loss")
    marked = {name for name, cell in loss.items() if LEAST_MARK in cell}
    assert marked == {"prompt", "P-tuning"}
    assert LEAST_MARK not in methods(rows, scored(rows), metric="tpr_at_fpr").note


def test_one_method_gives_no_comparison():
    rows = study(datasets=("webnlg",), methods=("full",), epochs=(0, 3))
    with pytest.raises(DataError, match="table comparisons: fewer than two methods"):
        comparisons(rows, scored(rows))
    assert LEAST_MARK not in methods(rows, scored(rows)).note


# --- gains


def test_a_gain_is_the_paired_difference_from_the_base_model():
    rows = study(**FEW)
    known = scored(rows)
    first, before = (
        known(next(r.scores for r in rows if (r.method, r.attack, r.epoch, r.metric) == ("full", "loss", e, "auc")))
        for e in (3, 0)
    )
    reported = auc_difference(first.scores, before.scores, first.members, first.groups)
    cell = line(gains(rows, known, judged()), "WebNLG", "full", "Loss")
    assert (
        cell["gain over the base model"]
        == f"{reported.value:.3f}{SIGNIFICANCE_MARK} [{reported.low:.3f}, {reported.high:.3f}]"
    )
    # The best blind classifier has .52 [.46, .58]; values below 0.5 count as 0.5.
    assert cell["gain over the best blind classifier"] == "0.318 [0.228, 0.368]"


def test_without_a_blind_classifier_no_gain_over_it_is_reported():
    rows = study(**FEW)
    table = gains(rows, scored(rows), {})
    assert {row[-1] for row in table.rows} == {row_values.MISSING}
    assert "No blind classifier" in table.note
    with pytest.raises(DataError, match="epoch 0"):
        gains([r for r in rows if r.epoch != 0], scored(rows), {})


# --- the base model


@pytest.mark.parametrize(
    ("apart", "verdict"), [(0.0, "sound"), (0.4, "doubtful"), (1.2, "broken"), (-1.2, "broken"), (-0.4, "doubtful")]
)
def test_the_base_model_must_not_distinguish_members_from_nonmembers(apart, verdict):
    members = np.arange(400) < 200
    grid = np.tile(np.linspace(-2, 2, 200), 2)
    stored = ScoreSet(tuple(map(str, range(400))), grid + apart * members, members, tuple(map(str, range(400))))
    (found,) = base_model_findings({"Loss": stored})
    assert found.verdict == verdict
    assert bool(found.why) == (verdict != "sound")


def test_many_attacks_on_a_fair_split_share_one_error():
    """Uncorrected, 10 attacks would raise an alarm in 40 % of fair studies."""
    rng = np.random.default_rng(7)
    alarms = sum(
        any(f.verdict != "sound" for f in base_model_findings({str(i): drawn(rng) for i in range(10)}))
        for _ in range(100)
    )
    assert alarms <= 11


def test_without_measurements_there_is_no_verdict():
    assert base_model_findings({}) == ()


def test_a_panels_gate_combines_data_and_base_model():
    rows = study(**FEW)
    worse = [replace(r, value=0.8) if (r.attack, r.metric, r.epoch) == ("min_k", "auc", 0) else r for r in rows]
    assert panel_gates(rows, scored(rows), judged())["WebNLG"].verdict == "sound"
    assert gate_lines(panel_gates(rows, scored(rows), judged())) == ["split check, WebNLG: sound"]
    assert panel_gates(worse, scored(worse), judged())["WebNLG"].verdict == "broken"
    assert panel_gates(rows, scored(rows), judged("broken", "copies"))["WebNLG"].reasons[0] == "copies"
    assert panel_gates(rows, scored(rows), {})["WebNLG"].verdict == "doubtful"


# --- verdicts


def verdict(rows, method, gates=None):
    known = everything(rows)
    found = panel_gates(rows, known["scores"], judged() if gates is None else gates)
    return next(v for v in verdicts(rows, known["scores"], found)["WebNLG"] if v.method == method)


def with_tpr(rows, **changed):
    """Return the rows with other values of the TPR."""
    return [replace(r, **changed) if r.metric == "tpr_at_fpr" else r for r in rows]


def test_a_leak_is_stated_as_the_share_of_identified_members():
    leaking = verdict(with_tpr(study(**FEW), value=0.5, low=0.4, high=0.6), "full")
    assert (leaking.word, leaking.attack, leaking.epoch) == ("leaks", "Loss", 3)
    assert leaking.sentence.startswith("leaks: at 1 % FPR, an adversary identifies 50 % [")
    assert leaking.sentence.endswith(" %] of the members")
    assert leaking.evidence.startswith("Loss reaches AUC 0.83")


def test_a_share_that_may_be_that_of_guessing_is_not_stated():
    unclear = verdict(study(**FEW), "full")
    assert unclear.word == "leaks"
    assert unclear.sentence.startswith("leaks: an adversary ranks a random member above a random non-member in 84 % [")


def test_the_lowest_measured_fpr_is_used():
    rows = with_tpr(study(**FEW), metric_settings="fpr=0.05", value=0.5, low=0.4, high=0.6)
    assert "at 5 % FPR" in verdict(rows, "full").sentence
    lower = [replace(r, metric_settings="fpr=0.001") for r in rows if r.metric == "tpr_at_fpr"]
    assert "at 0.1 % FPR, an adversary identifies 50 %" in verdict([*rows, *lower], "full").sentence


def test_without_tpr_a_leak_is_stated_by_its_auc():
    rows = [r for r in study(**FEW) if r.metric != "tpr_at_fpr"]
    assert "above a random non-member in 84 % [" in verdict(rows, "full").sentence


def test_without_leakage_the_power_is_stated():
    reported = verdict(study(**FEW), "prompt").sentence
    smallest = detectable_auc(200.0, 200.0, tests=15)
    assert reported == f"no leakage detectable by these attacks at this power (smallest detectable AUC: {smallest:.2f})"


def test_the_choice_among_attacks_is_corrected_for():
    """The interval of an AUC of .58 excludes 0.5 for one test, but not for 15 tests."""
    rows = [
        replace(r, value=0.58) if (r.method, r.epoch, r.attack, r.metric) == ("prompt", 3, "min_k", "auc") else r
        for r in study(**FEW)
    ]
    alone = [r for r in rows if r.method == "prompt" and r.attack in ("", "min_k")]
    assert verdict(alone, "prompt").word == "leaks"
    assert verdict(rows, "prompt").word == "nothing"


def test_a_difference_on_the_base_model_is_no_leak():
    rows = [
        replace(r, value=0.66, low=0.6, high=0.71) if (r.attack, r.metric) == ("loss", "auc") else r
        for r in study(**FEW)
    ]
    gates = {}  # doubtful, not broken
    known = scored(rows)
    found = {v.method: v for v in verdicts(rows, known, panel_gates([], known, gates))["WebNLG"]}
    assert found["prompt"].word == "differs"
    assert (found["full"].word, found["full"].attack) == ("leaks", "Reference")


def test_a_difference_of_words_is_no_leak():
    rows = [
        replace(r, value=0.66) if (r.method, r.epoch, r.metric) == ("prompt", 3, "auc") else r for r in study(**FEW)
    ]
    assert verdict(rows, "prompt").word == "leaks"
    words = Finding("blind: words", "doubtful", "", "words differ", 0.65, 0.596, 0.7, 0.001)
    reported = verdict(rows, "prompt", {("webnlg", ""): Gate(200, 200, (words,))})
    assert reported.word == "differs"
    assert reported.sentence == (
        "no leak shown: the attack does not separate the classes significantly better than a classifier on the texts alone"
    )
    blind = "not significantly above the blind classifier words (AUC 0.650 [0.596, 0.700])"
    assert reported.evidence.endswith(f"; {blind}.")
    assert reported.failed_condition == f"is {blind}"
    assert verdict(rows, "full", {("webnlg", ""): Gate(200, 200, (words,))}).word == "leaks"
    drawn = Finding(ASSIGNMENT, "sound", "", "", 1.0)
    assert verdict(rows, "prompt", {("webnlg", ""): Gate(200, 200, (words, drawn))}).word == "differs"
    sound = replace(words, verdict="sound", p_value=0.3)
    assert verdict(rows, "prompt", {("webnlg", ""): Gate(200, 200, (sound, drawn))}).word == "leaks"


def test_one_favorable_seed_makes_no_leak():
    def lucky(*seeds):
        return [
            replace(r, value=0.75) if (r.method, r.epoch, r.metric) == ("prompt", 3, "auc") and r.seed in seeds else r
            for r in study(seeds=(0, 1), **FEW)
        ]

    assert verdict(lucky(0, 1), "prompt").word == "leaks"
    assert verdict([r for r in lucky(1) if r.seed == 1], "prompt").word == "leaks"
    reported = verdict(lucky(1), "prompt")
    assert reported.word == "nothing"
    aucs = [r.value for r in lucky(1) if (r.method, r.epoch, r.attack, r.metric) == ("prompt", 3, "loss", "auc")]
    assert f"Loss reaches AUC {sum(aucs) / 2:.3f}" in reported.evidence
    assert "mean of 2 seeds" in reported.evidence


def test_a_broken_comparison_is_never_read_as_leakage():
    for method in ("full", "prompt"):
        reported = verdict(study(**FEW), method, judged("broken", "copies"))
        assert reported.sentence == "cannot be read as leakage: members and non-members are not comparable"


def test_no_claim_calls_a_model_private_or_safe():
    reported = " ".join(CLAIMS.values()) + verdict(study(**FEW), "prompt").sentence
    assert not any(word in reported.lower() for word in ("private", "safe", "secure", "protected"))


def test_a_null_study_claims_a_leak_in_at_most_one_of_twenty():
    """Two methods, four attacks, no leak: without correction, the best of eight would be a leak in 18 % of studies."""
    blank = next(r for r in study(**FEW) if r.metric == "auc")
    rng, claims = np.random.default_rng(8), 0
    rows: list[Row] = [
        replace(blank, method=m, attack=a, cell=m, epoch=e, scores=f"{m}{a}{e}")
        for m in ("full", "lora")
        for a in ("loss", "min_k", "zlib_ratio", "reference")
        for e in (0, 3)
    ]
    for _ in range(80):
        stored = {r.scores: drawn(rng, count=40) for r in rows}
        reported = verdicts(rows, stored.__getitem__, {})["WebNLG"]
        claims += any(v.word == "leaks" for v in reported)
    assert claims <= 7
