"""Intervals and tests against brute force, published numbers and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri, stdtr

from byheart.core.errors import DataError
from byheart.metrics.auc import auc
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.stats import intervals, roc_auc
from testing.pairs import some_pairs


def alone(count):
    return tuple(f"g{i}" for i in range(count))


def kernel(member, nonmember):
    return 1.0 if member > nonmember else 0.5 if member == nonmember else 0.0


def delong(scores, membership):
    """The structural components of DeLong et al. (1988), equations 4 to 6."""
    members, nonmembers = scores[membership], scores[~membership]
    m, n = len(members), len(nonmembers)
    theta = sum(kernel(x, y) for x, y in itertools.product(members, nonmembers)) / (m * n)
    v10 = [sum(kernel(x, y) for y in nonmembers) / n for x in members]
    v01 = [sum(kernel(x, y) for x in members) / m for y in nonmembers]
    s10 = sum((v - theta) ** 2 for v in v10) / (m - 1)
    s01 = sum((v - theta) ** 2 for v in v01) / (n - 1)
    return theta, s10 / m + s01 / n


def obuchowski(scores, membership, groups):
    """Obuchowski (1997): the same with the components summed within each group."""
    theta, _ = delong(scores, membership)
    members, nonmembers = scores[membership], scores[~membership]
    m, n, names = len(members), len(nonmembers), sorted(set(groups))
    ten, one = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for score, member, group in zip(scores, membership, groups, strict=True):
        if member:
            ten[group] += sum(kernel(score, y) for y in nonmembers) / n - theta
        else:
            one[group] += sum(kernel(x, score) for x in members) / m - theta
    i10 = len({g for g, member in zip(groups, membership, strict=True) if member})
    i01 = len({g for g, member in zip(groups, membership, strict=True) if not member})
    i = len(names)
    s10 = i10 / ((i10 - 1) * m) * sum(v**2 for v in ten.values())
    s01 = i01 / ((i01 - 1) * n) * sum(v**2 for v in one.values())
    s11 = i / (i - 1) * sum(ten[g] * one[g] for g in names)
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def drawn(seed, counts, *, auc=0.8, groups_of=(1, 0.0), digits=12):
    """Normal scores of members and non-members with this AUC, in groups of this size with this correlation."""
    size, within = groups_of
    generator = np.random.default_rng(seed)
    scores, groups = [], []
    for side, count, mean in (("m", counts[0], math.sqrt(2) * ndtri(auc)), ("n", counts[1], 0.0)):
        group = np.arange(count) // size
        shared = generator.normal(size=count)[group]
        own = generator.normal(size=count)
        scores.append(mean + math.sqrt(within) * shared + math.sqrt(1 - within) * own)
        groups += [f"{side}{g}" for g in group]
    return np.round(np.concatenate(scores), digits), np.arange(sum(counts)) < counts[0], tuple(groups)


@pytest.mark.parametrize("digits", [12, 0])  # 0: nearly all scores tie
@pytest.mark.parametrize("auc", [0.5, 0.8, 0.95])
def test_delong_equals_the_printed_formula(auc, digits):
    scores, membership, groups = drawn(0, (23, 31), auc=auc, digits=digits)
    theta, variance = delong(scores, membership)
    placed = roc_auc.placements(scores, membership)
    assert placed[membership].mean() == pytest.approx(theta, abs=1e-12)
    assert placed[~membership].mean() == pytest.approx(theta, abs=1e-12)
    assert roc_auc.placement_variance(placed, membership, groups).variance == pytest.approx(variance, rel=1e-12)


def test_clustered_variance_equals_the_printed_formula_also_if_groups_contain_both_classes():
    scores, membership, _ = drawn(1, (24, 30))
    for groups in (
        tuple(f"g{i % 9}" for i in range(54)),
        tuple(f"{side}{i % 7}" for i, side in enumerate(membership)),
        tuple(f"g{i * i % 17}" for i in range(54)),
    ):
        placed = roc_auc.placements(scores, membership)
        found = roc_auc.placement_variance(placed, membership, groups).variance
        assert found == pytest.approx(obuchowski(scores, membership, groups), rel=1e-12)


def test_copies_of_a_text_in_its_group_do_not_narrow_the_interval():
    scores, membership, groups = drawn(2, (20, 25))
    twice = np.concatenate([scores, scores]), np.concatenate([membership, membership]), (*groups, *groups)
    value, (low, high) = roc_auc.auc_interval(scores, membership, groups)
    copied, (copied_low, copied_high) = roc_auc.auc_interval(*twice)
    assert (copied, copied_low, copied_high) == pytest.approx((value, low, high), rel=1e-12)
    ungrouped = roc_auc.auc_interval(*twice[:2], alone(90))[1]
    assert ungrouped[1] - ungrouped[0] < 0.8 * (high - low)


def test_the_interval_does_not_depend_on_the_order_of_texts():
    scores, membership, groups = drawn(3, (30, 40), groups_of=(3, 0.5))
    order = np.random.default_rng(0).permutation(70)
    shuffled = roc_auc.auc_interval(scores[order], membership[order], tuple(groups[i] for i in order))
    value, ends = roc_auc.auc_interval(scores, membership, groups)
    assert (shuffled[0], *shuffled[1]) == pytest.approx((value, *ends), rel=1e-12)


def test_the_clustered_variance_equals_that_of_the_clustered_bootstrap():
    scores, membership, groups = drawn(4, (120, 120), groups_of=(6, 0.6))
    weights = intervals.bootstrap_weights(membership, groups, resamples=2000, generator=np.random.default_rng(0))
    wins = (scores[membership][:, None] > scores[~membership]).astype(float)
    ours, theirs = weights[:, membership], weights[:, ~membership]
    drawn_again = np.einsum("rm,mn,rn->r", ours, wins, theirs) / (ours.sum(1) * theirs.sum(1))
    variance = roc_auc.placement_variance(roc_auc.placements(scores, membership), membership, groups).variance
    assert variance == pytest.approx(drawn_again.var(), rel=0.12)


def test_the_bootstrap_draws_complete_groups_for_each_class_separately():
    membership = np.array([True, True, True, False, False, False, True, False])
    groups = ("a", "a", "b", "c", "d", "d", "e", "e")
    weights = intervals.bootstrap_weights(membership, groups, resamples=300, generator=np.random.default_rng(1))
    again = intervals.bootstrap_weights(membership, groups, resamples=300, generator=np.random.default_rng(1))
    assert np.array_equal(weights, again)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.array_equal(weights[:, 4], weights[:, 5])
    assert (weights[:, 0] + weights[:, 2] == 2).all()
    assert (weights[:, 3] + weights[:, 4] == 2).all()
    assert (weights[:, 6:] == 1).all()  # the group with both classes is its own stratum
    assert len(np.unique(weights, axis=0)) == 9


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 5
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0000, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_equals_published_values(successes, trials, low, high):
    found = intervals.clopper_pearson(float(successes), float(trials))
    assert [round(float(end), 4) for end in found] == [low, high]
    mirrored = intervals.clopper_pearson(float(trials - successes), float(trials))
    assert [1 - float(end) for end in reversed(mirrored)] == pytest.approx([float(end) for end in found], abs=1e-12)


def test_clopper_pearson_accepts_arrays_and_other_confidences():
    low, high = intervals.clopper_pearson(np.arange(11.0), 10.0, confidence=0.9)
    assert (low[0], high[10]) == (0, 1)
    assert high[0] == pytest.approx(1 - 0.05**0.1)
    assert (np.diff(low) > 0).all()
    assert (np.diff(high) > 0).all()


def test_holm_equals_a_worked_example():
    assert intervals.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm(np.array([0.6, 0.5])).tolist() == [1.0, 1.0]
    assert intervals.holm(np.array([0.02])).tolist() == [0.02]
    assert len(intervals.holm(np.zeros(0))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_the_same_hypotheses_as_the_step_down_loop(p_values, alpha):
    rejected, adjusted = set(), intervals.holm(np.array(p_values))
    for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[i] * (len(p_values) - step) > alpha:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


@pytest.mark.parametrize("count", [1, 2, 10, 200])
def test_without_observed_variance_the_interval_is_exact(count):
    membership = np.arange(2 * count) < count
    value, (low, high) = roc_auc.auc_interval(membership.astype(float), membership, alone(2 * count))
    assert (value, high) == (1, 1)
    # If every member is above every non-member, so are the pairs (1, 1), (2, 2), ..., with probability AUC ** count.
    assert low == pytest.approx(0.025 ** (1 / count), rel=1e-6)
    value, (low, high) = roc_auc.auc_interval(-membership.astype(float), membership, alone(2 * count))
    assert (value, low) == (0, 0)
    assert high == pytest.approx(1 - 0.025 ** (1 / count), rel=1e-6)


def test_hoeffdings_bound_solves_the_divergence_equation():
    for value, pairs in ((0.5, 50.0), (0.9, 12.5), (0.03, 400.0)):
        for end in intervals.hoeffding(value, pairs):
            divergence = value * math.log(value / end) + (1 - value) * math.log((1 - value) / (1 - end))
            assert pairs * divergence == pytest.approx(math.log(40), rel=1e-6)
    assert intervals.hoeffding(0.5, 0.1) == (0, 1)


def test_constant_scores_give_a_wide_interval_and_one_group_a_wider_one():
    membership = np.arange(100) < 50
    value, (low, high) = roc_auc.auc_interval(np.zeros(100), membership, alone(100))
    assert value == 0.5
    assert 0.25 < low < 0.35
    assert high == pytest.approx(1 - low)
    scores = np.random.default_rng(0).normal(size=100)
    _, (low, high) = roc_auc.auc_interval(scores, membership, ("one",) * 50 + alone(50))
    assert low < 0.05
    assert high > 0.95


def test_independent_pairs_are_counted_in_groups():
    membership = np.arange(12) < 8
    assert roc_auc.independent_pairs(membership, alone(12)) == 4
    assert roc_auc.independent_pairs(membership, ("a", "b") * 4 + alone(4)) == 2
    assert roc_auc.independent_pairs(membership, ("a",) * 7 + ("b",) + alone(4)) == pytest.approx(64 / 50)
    assert roc_auc.independent_pairs(membership, ("a",) * 12) == 0.5


@pytest.mark.parametrize("scores", [[math.nan, 1.0], [1.0, math.nan]])
def test_scores_that_are_not_finite_raise_an_error(scores):
    with pytest.raises(DataError, match="text number"):
        roc_auc.member_and_nonmember_scores(np.array(scores), np.array([True, False]))


@pytest.mark.parametrize("member", [True, False])
def test_one_class_alone_raises_an_error(member):
    with pytest.raises(DataError, match=r"there are (0 and 3|3 and 0)"):
        roc_auc.member_and_nonmember_scores(np.zeros(3), np.full(3, member))


def test_the_resolution_counts_false_positives_and_rejects_unreachable_rates():
    assert [roc_auc.allowed_false_positives(n, 0.01) for n in (100, 199, 200, 1000)] == [1, 1, 2, 10]
    assert roc_auc.allowed_false_positives(100, 0.29) == 29  # in binary 0.29 * 100 is below 29
    assert roc_auc.allowed_false_positives(1000, 0.001) == 1
    reported = r"1 % FPR.* 100 non-members.* 64.* fpr: 0\.016 or more.* data\.nonmembers"
    with pytest.raises(DataError, match=reported):
        roc_auc.allowed_false_positives(64, 0.01)
    for few in (0, 1):
        with pytest.raises(DataError, match=rf"10 % FPR.* 10 non-members.* {few}\. .* data\.nonmembers"):
            roc_auc.allowed_false_positives(few, 0.1)


@given(st.integers(2, 3000))
def test_the_rate_that_the_error_suggests_is_accepted(nonmembers):
    with pytest.raises(DataError) as reported:
        roc_auc.allowed_false_positives(nonmembers, 1e-5)
    named = float(str(reported.value).split("Write fpr: ")[1].split(" ")[0])
    assert roc_auc.allowed_false_positives(nonmembers, named) >= 1
    assert named < 1.2 / nonmembers + 1e-12


def test_the_difference_of_aucs_has_delongs_variance():
    first, membership, groups = drawn(5, (25, 35))
    second = first + np.random.default_rng(0).normal(size=60)
    difference = roc_auc.auc_difference(first, second, membership, groups)
    assert difference.value == pytest.approx(delong(first, membership)[0] - delong(second, membership)[0])
    a, b = (roc_auc.placements(s, membership) for s in (first, second))
    variance = sum(np.cov(a[s], b[s]) @ [1, -1] @ [1, -1] / s.sum() for s in (membership, ~membership))
    reach = (difference.high - difference.low) / 2
    assert 1.96 < reach / math.sqrt(variance) < 2.1
    assert difference.p_value == pytest.approx(math.erfc(difference.value / math.sqrt(2 * variance)), abs=0.01)
    backwards = roc_auc.auc_difference(second, first, membership, groups)
    assert backwards == pytest.approx((-difference.value, -difference.high, -difference.low, difference.p_value))


@pytest.mark.parametrize("seed", range(40))
def test_a_difference_is_significant_exactly_if_its_interval_excludes_zero(seed):
    first, membership, groups = drawn(seed, (40, 40))
    second = first + np.random.default_rng(seed).normal(size=80)
    difference = roc_auc.auc_difference(first, second, membership, groups)
    assert (difference.p_value < 0.05) == (difference.low > 0 or difference.high < 0)


def reference_shift(first, second, membership, groups, variance):
    """`skewness_shift` by plain loops over groups and over pairs of texts."""

    def difference(i, j):
        return kernel(first[i], first[j]) - kernel(second[i], second[j])

    members, nonmembers = np.flatnonzero(membership), np.flatnonzero(~membership)
    m, n = len(members), len(nonmembers)
    placed = {i: sum(difference(i, j) for j in nonmembers) / n for i in members}
    placed |= {j: sum(difference(i, j) for i in members) / m for j in nonmembers}
    value = sum(placed[i] for i in members) / m
    effect = dict.fromkeys(groups, 0.0)
    for text, group in enumerate(groups):
        effect[group] += (placed[text] - value) / (m if membership[text] else n)
    pairs = sum(
        effect[groups[i]] * effect[groups[j]] * (difference(i, j) - placed[i] - placed[j] + value)
        for i, j in itertools.product(members, nonmembers)
    ) / (m * n)
    z = ndtri(0.975)
    return ((2 * z**2 + 1) / 6 * sum(e**3 for e in effect.values()) + (z**2 + 1) * pairs) / (z * variance**1.5)


@pytest.mark.parametrize("digits", [12, 0])
@pytest.mark.parametrize("kind", ["alone", "equal groups", "unequal groups", "groups with both classes"])
def test_the_skewness_of_a_difference_equals_plain_loops(kind, digits):
    first, membership, _ = drawn(7, (24, 30), auc=0.95, digits=digits)
    second = np.round(first + np.random.default_rng(7).normal(size=54), digits)
    groups = {
        "alone": alone(54),
        "equal groups": tuple(f"g{i // 6}" for i in range(54)),
        "unequal groups": tuple(f"{side}{i * i % 17}" for i, side in enumerate(membership)),
        "groups with both classes": tuple(f"g{i * i % 17}" for i in range(54)),
    }[kind]
    placed = roc_auc.placements(first, membership) - roc_auc.placements(second, membership)
    variance = roc_auc.placement_variance(placed, membership, groups).variance
    shift = roc_auc.skewness_shift(first, second, membership, groups, variance)
    assert abs(shift) > 0.01
    assert shift == pytest.approx(reference_shift(first, second, membership, groups, variance), rel=1e-9)
    assert roc_auc.skewness_shift(second, first, membership, groups, variance) == pytest.approx(-shift, rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_skewness_widens_one_end_of_a_difference_and_narrows_none(seed):
    first, membership, groups = drawn(seed, (60, 60), auc=0.95, groups_of=(3, 0.5))
    second = first + np.random.default_rng(seed).normal(size=120) / 2
    placed = roc_auc.placements(first, membership) - roc_auc.placements(second, membership)
    variance, freedom = roc_auc.placement_variance(placed, membership, groups)
    shift = roc_auc.skewness_shift(first, second, membership, groups, variance)
    margin = intervals.t_critical_value(freedom) * math.sqrt(variance)
    difference = roc_auc.auc_difference(first, second, membership, groups)
    assert difference.value - difference.low == pytest.approx(margin * (1 + max(0, -shift)))
    assert difference.high - difference.value == pytest.approx(margin * (1 + max(0, shift)))


@pytest.mark.parametrize("auc", [0.6, 0.95])
@pytest.mark.parametrize("seed", range(20))
def test_the_p_value_is_5_percent_where_an_end_of_the_interval_is_zero(seed, auc):
    """Whatever the skewness: the end toward 0 decides, and the distance from 0 is measured in its margin."""
    first, membership, groups = drawn(seed, (60, 60), auc=auc, groups_of=(3, 0.5))
    second = first + np.random.default_rng(seed).normal(size=120)
    difference = roc_auc.auc_difference(first, second, membership, groups)
    assert (difference.p_value < 0.05) == (difference.low > 0 or difference.high < 0)
    placed = roc_auc.placements(first, membership) - roc_auc.placements(second, membership)
    freedom = roc_auc.placement_variance(placed, membership, groups).degrees_of_freedom
    margin = difference.value - difference.low if difference.value > 0 else difference.high - difference.value
    share = abs(difference.value) / margin
    assert difference.p_value == pytest.approx(2 * stdtr(freedom, -share * intervals.t_critical_value(freedom)))


def test_degrees_of_freedom_are_those_of_a_normal_sample_or_fewer_if_few_texts_cause_the_variance():
    membership, generator = np.arange(40_000) < 20_000, np.random.default_rng(0)
    spread = roc_auc.placement_variance(generator.normal(size=40_000), membership, alone(40_000))
    assert spread.degrees_of_freedom == pytest.approx(
        40_000, rel=0.05
    )  # Satterthwaite's, for two sides of one variance
    few = roc_auc.placement_variance((np.arange(40_000) % 20_000 < 5).astype(float), membership, alone(40_000))
    assert few.degrees_of_freedom == pytest.approx(
        20, rel=0.01
    )  # five texts a side; a Poisson count's variance has 2 * 10
    square = np.array([1.0, 0.0] * 3 + [1.0, 0.0] * 3)
    assert (
        roc_auc.placement_variance(square, np.arange(12) < 6, alone(12)).degrees_of_freedom > 1e6
    )  # two values, evenly


def test_equal_rankings_have_no_difference():
    scores, membership, groups = drawn(6, (20, 20))
    same = roc_auc.auc_difference(scores, np.exp(scores), membership, groups)
    assert (same.value, same.p_value) == (0, 1)
    assert (same.low, same.high) == pytest.approx((-math.sqrt(2 * math.log(40) / 20), math.sqrt(2 * math.log(40) / 20)))


def test_perfect_and_inverted_rankings_differ():
    _, membership, groups = drawn(6, (20, 20))
    opposite = roc_auc.auc_difference(membership.astype(float), -membership.astype(float), membership, groups)
    assert (opposite.value, opposite.high) == (1, 1)
    assert opposite.low > 0
    assert opposite.p_value < 0.001


# Coverage by simulation.


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize(("texts", "truth"), some_pairs([50, 100, 300], [0.5, 0.8, 0.95]))
def test_coverage(texts, truth, size):
    tpr = ndtr(math.sqrt(2) * ndtri(truth) + ndtri(0.1))
    within = 0.5 if size > 1 else 0.0
    repeats, stored, tpr_held = 200, 0, 0
    for seed in range(repeats):
        study = drawn(seed, (texts, texts), auc=truth, groups_of=(size, within))
        found = auc(*study)
        stored += found.low <= truth <= found.high
        found = tpr_at_fpr(*study, fpr=0.1)
        tpr_held += found.low <= tpr <= found.high
    assert 0.90 <= stored / repeats <= 0.99  # 0.95 minus three standard errors
    assert tpr_held / repeats >= 0.93  # never too narrow; conservative with few texts


def test_a_low_fpr_at_the_limit_of_the_resolution_has_nominal_coverage():
    tpr, repeats = ndtr(math.sqrt(2) * ndtri(0.95) + ndtri(0.01)), 200
    found = [tpr_at_fpr(*drawn(seed, (100, 100), auc=0.95), fpr=0.01) for seed in range(repeats)]
    assert sum(e.low <= tpr <= e.high for e in found) / repeats >= 0.95


@pytest.mark.usefixtures("many_calls")
def test_near_auc_one_a_few_discordant_texts_do_not_give_significance():
    found = [auc(*drawn(seed, (300, 300), auc=0.999)) for seed in range(300)]
    assert sum(e.low <= 0.999 <= e.high for e in found) / 300 >= 0.93


@pytest.mark.usefixtures("many_calls")
def test_near_auc_one_a_difference_is_rarely_above_its_interval():
    """AUC 0.99 and 0.97, 20 groups of five per class: 9.6 % above an interval of Student's t alone, 4.7 % above this one."""
    above, repeats, truth = 0, 1000, 0.99 - 0.97
    for seed in range(repeats):
        own, membership, groups = drawn(seed, (100, 100), auc=0.5, groups_of=(5, 0.5))
        noise = np.random.default_rng([1, seed]).normal(size=(2, 200))
        first, second = (
            math.sqrt(0.9) * own + math.sqrt(0.1) * n + math.sqrt(2) * ndtri(auc) * membership
            for n, auc in zip(noise, (0.99, 0.97), strict=True)
        )
        above += truth > roc_auc.auc_difference(first, second, membership, groups).high
    assert 0.025 <= above / repeats <= 0.07


def test_the_paired_test_has_its_nominal_false_positive_rate():
    alarms, repeats = 0, 400
    for seed in range(repeats):
        truth, membership, groups = drawn(seed, (60, 60), groups_of=(2, 0.5))
        noise = np.random.default_rng([1, seed]).normal(size=(2, 120))
        alarms += roc_auc.auc_difference(truth + noise[0], truth + noise[1], membership, groups).p_value < 0.05
    assert 0.02 <= alarms / repeats <= 0.085


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30))
def test_the_interval_contains_the_estimate(seed, members, nonmembers):
    value, (low, high) = roc_auc.auc_interval(
        *drawn(seed, (members, nonmembers), auc=0.9, groups_of=(3, 0.5), digits=1)
    )
    assert 0 <= low <= value <= high <= 1


@pytest.mark.parametrize("size", [4, 24, 48])
def test_perfect_separation_is_a_gain_over_chance(size):
    """If all scores of one model tie, the difference is that of one AUC from 0.5, with an exact bound by pairs of texts."""
    members = np.arange(2 * size) < size
    groups = tuple(map(str, range(2 * size)))
    parted, tied = np.where(members, 1.0, 0.0), np.zeros(2 * size)
    gain, loss = (
        roc_auc.auc_difference(parted, tied, members, groups),
        roc_auc.auc_difference(tied, parted, members, groups),
    )
    assert gain.value == 0.5
    assert gain.p_value == pytest.approx(2 * 0.5**size)
    assert gain.low == pytest.approx(0.025 ** (1 / size) - 0.5)
    assert gain.high == 0.5
    assert (loss.value, loss.low, loss.high, loss.p_value) == (-0.5, -0.5, -gain.low, gain.p_value)
    assert roc_auc.auc_difference(tied, tied, members, groups).p_value == 1
    assert roc_auc.auc_difference(parted, parted, members, groups).p_value == 1
