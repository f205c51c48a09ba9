"""Pooling over seeds and attacks, and shares by the mid-P rule: against formulas, and for cases that must agree."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import binom, multivariate_normal, norm, t

from byheart.core.types import Estimate
from byheart.stats import roc_auc, seed_pooling
from byheart.stats.proportions import effective_size, mid_p, mid_p_cdf

MEMBERSHIP = np.arange(160) < 80
GROUPS = tuple(f"g{i // 4}" for i in range(160))


def drawn(count, shared, seed=0, distance=0.8):
    generator = np.random.default_rng(seed)
    common = generator.normal(size=160)
    own = generator.normal(size=(count, 160))
    return math.sqrt(shared) * common + math.sqrt(1 - shared) * own + distance * MEMBERSHIP


def reach(ends, value):
    return logit(ends[1]) - logit(value)


# Seeds


def test_one_seed_keeps_its_interval_and_a_missing_interval_stays_missing():
    one = Estimate(0.7, 0.6, 0.8, 100, 90)
    assert seed_pooling.pool_seed_estimates([one]) == pytest.approx(one)
    assert seed_pooling.pool_seed_estimates([one, Estimate(0.6)]) == Estimate(pytest.approx(0.65), None, None, 100, 90)


def test_equal_seeds_have_the_interval_of_one_seed():
    one = Estimate(0.7, 0.6, 0.85)
    assert seed_pooling.pool_seed_estimates([one] * 5)[:3] == pytest.approx(one[:3])


def test_half_widths_are_added_in_squares():
    seeds = [Estimate(0.6, 0.5, 0.65), Estimate(0.7, 0.62, 0.8), Estimate(0.8, 0.71, 0.86)]
    found = seed_pooling.pool_seed_estimates(seeds)
    own = t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    below = math.sqrt((0.1**2 + 0.08**2 + 0.09**2) / 3)
    above = math.sqrt((0.05**2 + 0.1**2 + 0.06**2) / 3)
    assert found[:3] == pytest.approx((0.7, 0.7 - math.hypot(below, own), 0.7 + math.hypot(above, own)))
    assert seed_pooling.pool_seed_estimates(seeds, within=(0.6, 0.9))[1:3] == (0.6, 0.9)


def test_simultaneous_intervals_are_wider():
    seeds = [Estimate(0.6, 0.5, 0.7), Estimate(0.7, 0.6, 0.8)]
    wide = seed_pooling.pool_seed_estimates(seeds, tests=5)
    own = t.ppf(1 - 0.025 / 5, 1) * math.sqrt(0.005) / math.sqrt(2)
    assert wide.high - wide.value == pytest.approx(math.hypot(0.1 * norm.ppf(1 - 0.025 / 5) / norm.ppf(0.975), own))


def test_scores_of_one_seed_give_the_auc_interval():
    scores = drawn(1, 0.5)
    assert seed_pooling.auc_over_seeds(scores, MEMBERSHIP, GROUPS) == roc_auc.auc_interval(
        scores[0], MEMBERSHIP, GROUPS
    )


@pytest.mark.parametrize("count", [2, 3, 6])
def test_a_repeated_seed_does_not_narrow_the_interval(count):
    scores = np.repeat(drawn(1, 0.5), count, axis=0)
    once = roc_auc.auc_interval(scores[0], MEMBERSHIP, GROUPS)
    assert seed_pooling.auc_over_seeds(scores, MEMBERSHIP, GROUPS)[1] == pytest.approx(once[1], rel=1e-9)


def test_seed_variance_is_the_spread_minus_the_variance_of_the_texts():
    scores = drawn(4, 0.7) + np.array([-0.5, 0.0, 0.3, 0.6])[:, None] * MEMBERSHIP
    placed = np.array([roc_auc.placements(s, MEMBERSHIP) for s in scores])
    middle = placed.mean(axis=0)
    aucs = [roc_auc.auc_interval(s, MEMBERSHIP, GROUPS)[0] for s in scores]
    texts = roc_auc.placement_variance(middle, MEMBERSHIP, GROUPS)
    apart = [roc_auc.placement_variance(p - middle, MEMBERSHIP, GROUPS).variance for p in placed]
    own = np.var(aucs, ddof=1) / 4 - sum(apart) / 12
    assert own > 0
    value, ends = seed_pooling.auc_over_seeds(scores, MEMBERSHIP, GROUPS)
    assert value == pytest.approx(np.mean(aucs))
    expected = math.hypot(
        t.ppf(0.975, texts.degrees_of_freedom) * math.sqrt(texts.variance), t.ppf(0.975, 3) * math.sqrt(own)
    )
    assert reach(ends, value) == pytest.approx(expected / (value * (1 - value)))


def test_seeds_with_perfect_separation_use_the_exact_interval():
    scores = np.array([MEMBERSHIP + 0.0, 2.0 * MEMBERSHIP])
    assert seed_pooling.auc_over_seeds(scores, MEMBERSHIP, GROUPS)[1][0] == pytest.approx(0.025 ** (1 / 20), rel=1e-6)


# Attacks


def test_equal_rankings_need_no_correction_and_independent_ones_need_bonferroni():
    same = np.array([s for s in drawn(1, 0.5) for _ in range(5)])
    assert seed_pooling.joint_tail(same, MEMBERSHIP, GROUPS) == pytest.approx(0.025, rel=0.03)
    assert seed_pooling.joint_tail(drawn(1, 0.5), MEMBERSHIP, GROUPS) == pytest.approx(0.025, rel=0.03)
    strange = seed_pooling.joint_tail(drawn(5, 0.0, seed=3), MEMBERSHIP, GROUPS)
    assert 0.025 / 5 <= strange < 0.025 / 5 * 1.1


def test_the_joint_level_follows_the_attacks_correlation():
    scores = drawn(3, 0.8)
    placed = [roc_auc.placements(s, MEMBERSHIP) for s in scores]
    variance = [roc_auc.placement_variance(p, MEMBERSHIP, GROUPS).variance for p in placed]
    alike = np.eye(3)
    for i in range(3):
        for j in range(i):
            both = roc_auc.placement_variance(placed[i] + placed[j], MEMBERSHIP, GROUPS).variance
            alike[i, j] = alike[j, i] = (both - variance[i] - variance[j]) / 2 / math.sqrt(variance[i] * variance[j])
    far = norm.isf(seed_pooling.joint_tail(scores, MEMBERSHIP, GROUPS))
    joint = multivariate_normal(cov=alike)
    assert joint.cdf(np.full(3, far), lower_limit=np.full(3, -far)) == pytest.approx(0.95, abs=0.006)
    for (value, ends), one in zip(seed_pooling.joint_auc_intervals(scores, MEMBERSHIP, GROUPS), scores, strict=True):
        tail = seed_pooling.joint_tail(scores, MEMBERSHIP, GROUPS)
        assert (value, ends) == roc_auc.auc_interval(one, MEMBERSHIP, GROUPS, tail=tail)
        assert ends[0] < roc_auc.auc_interval(one, MEMBERSHIP, GROUPS)[1][0]


def test_an_attack_without_variance_raises_no_error():
    scores = np.array([np.zeros(160), *drawn(2, 0.5)])
    (value, ends), *_ = seed_pooling.joint_auc_intervals(scores, MEMBERSHIP, GROUPS)
    assert ends[0] < value < ends[1]


# Shares


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 6
        (81, 263, 0.2544, 0.3658),
        (15, 148, 0.0601, 0.1581),
        (0, 20, 0.0000, 0.1391),
        (1, 29, 0.0017, 0.1585),
    ],
)
def test_mid_p_equals_published_values(successes, trials, low, high):
    assert [round(end, 4) for end in mid_p(float(successes), float(trials))] == [low, high]
    mirrored = mid_p(float(trials - successes), float(trials))
    assert [1 - end for end in reversed(mirrored)] == pytest.approx(mid_p(float(successes), float(trials)), abs=1e-9)


@given(st.integers(1, 60), st.data(), st.floats(0.001, 0.999))
def test_mid_p_counts_half_of_the_observed_outcome(trials, data, share):
    count = data.draw(st.integers(0, trials))
    expected = binom.cdf(count, trials, share) - binom.pmf(count, trials, share) / 2
    assert float(mid_p_cdf(float(count), float(trials), share)) == pytest.approx(expected, abs=1e-9)


def test_the_weight_of_a_group_grows_with_differences_within_it():
    generator, group = np.random.default_rng(0), np.arange(4000) // 4
    shared, own = generator.normal(size=1000)[group], generator.normal(size=4000)
    assert effective_size(shared, group) == pytest.approx(1000, rel=0.01)
    assert effective_size(own, group) == pytest.approx(4000, rel=0.15)
    # A design effect of 1 + (4 - 1) * 0.5.
    assert effective_size(shared + own, group) == pytest.approx(4000 / 2.5, rel=0.1)
    assert effective_size(own, np.arange(4000)) == pytest.approx(4000)
    assert effective_size(np.zeros(8), np.array([0, 0, 0, 0, 1, 1, 2, 3])) == pytest.approx(64 / 22)
    assert effective_size(own[:4], np.zeros(4, dtype=int)) == 1
