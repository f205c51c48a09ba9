"""TPR at a low FPR: the highest allowed threshold, the resolution, and the interval."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import roc_curve

from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.metrics.tpr_at_fpr import tpr_at_fpr
from byheart.stats.proportions import mid_p
from testing.evidence import alone


def highest_tpr(members, nonmembers, fpr):
    """The highest TPR with an FPR of at most `fpr`, over all distinct thresholds."""
    thresholds = [-math.inf, *members, *nonmembers, math.inf]
    realised = [(sum(n > c for n in nonmembers) / len(nonmembers), sum(m > c for m in members)) for c in thresholds]
    return max(hits for rate, hits in realised if rate <= fpr + 1e-12) / len(members)


@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=25),
    st.lists(st.integers(-6, 6), min_size=10, max_size=40),
    st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]),
)
def test_tpr_is_the_highest_with_an_allowed_fpr(members, nonmembers, fpr):
    scores = np.array(members + nonmembers, dtype=float)
    membership = np.arange(len(scores)) < len(members)
    found = tpr_at_fpr(scores, membership, alone(len(scores)), fpr=fpr)
    assert found.value == pytest.approx(highest_tpr(members, nonmembers, fpr), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1
    rates, shares, _ = roc_curve(membership, scores, drop_intermediate=False)
    assert found.value == pytest.approx(shares[rates <= fpr + 1e-12].max())


def test_tied_texts_are_all_positive_or_all_negative():
    scores = np.concatenate([np.full(10, 2.0), np.full(20, 2.0), np.zeros(80)])
    membership = np.arange(110) < 10
    assert tpr_at_fpr(scores, membership, alone(110), fpr=0.19).value == 0
    assert tpr_at_fpr(scores, membership, alone(110), fpr=0.2).value == 1


def test_the_fpr_never_exceeds_its_limit():
    scores = np.concatenate([[8.5, 9.5], np.arange(10.0)])
    membership = np.arange(12) < 2
    assert tpr_at_fpr(scores, membership, alone(12), fpr=0.1).value == 1  # one of ten is above 8.5
    assert tpr_at_fpr(scores - 1e-3 * membership * 600, membership, alone(12), fpr=0.1).value == 0.5


def test_a_rate_below_the_resolution_raises_an_error():
    scores, membership = np.arange(164.0), np.arange(164) < 100
    with pytest.raises(DataError, match=r"100 non-members.* 64.*0\.016"):
        tpr_at_fpr(scores, membership, alone(164))
    assert tpr_at_fpr(scores, membership, alone(164), fpr=0.016).value == 0
    for wrong in (0, 1, -0.5):
        with pytest.raises(SettingError, match="fpr"):
            registry.choose("metrics", "tpr_at_fpr", {"fpr": wrong})


def test_with_too_few_nonmembers_the_interval_includes_zero():
    membership = np.arange(200) < 100
    found = tpr_at_fpr(membership.astype(float), membership, alone(200), fpr=0.01)
    assert (found.value, found.high) == (1, 1)
    assert found.low == 0  # one non-member in a hundred may be above them all, without being in the sample
    more = np.arange(2100) < 100
    assert tpr_at_fpr(more.astype(float), more, alone(2100), fpr=0.01).low > 0.95


@pytest.mark.parametrize(("nonmembers", "vouched"), [(367, False), (368, True)])
def test_a_threshold_above_all_nonmembers_is_excluded_if_improbable(nonmembers, vouched):
    """0.99 ** 367 is 0.02502: with 1 % of the population above them all, 367 non-members show none so often."""
    membership = np.arange(500 + nonmembers) < 500
    found = tpr_at_fpr(membership + np.linspace(0, 0.5, 500 + nonmembers), membership, alone(500 + nonmembers))
    assert found.value == 1
    assert (found.low > 0.5) == vouched


def test_with_ties_the_interval_covers_every_possible_threshold():
    generator = np.random.default_rng(11)
    membership = np.arange(2000) < 1000
    scores = np.round(4 * (generator.normal(size=2000) + 2 * membership)) / 4
    found = tpr_at_fpr(scores, membership, alone(2000), fpr=0.1)
    places = np.arange(1001)
    exact = binom.cdf(places, 1000, 0.1) - binom.pmf(places, 1000, 0.1) / 2
    descending = np.sort(scores[~membership])[::-1]
    strict, lax = places[exact >= 0.025].min(), places[1 - exact >= 0.025].max() + 1
    worst, best = ((scores[membership] > descending[place - 1]).sum() for place in (strict, lax))
    assert worst < found.value * 1000 or best > found.value * 1000
    assert found.low <= mid_p(float(worst), 1000.0)[0] + 1e-12
    assert found.high >= mid_p(float(best), 1000.0)[1] - 1e-12


def test_correlation_within_groups_is_estimated_near_the_threshold():
    """Correlated scores below the threshold only do not reduce the effective number of texts."""
    generator = np.random.default_rng(2)
    membership = np.arange(4000) < 2000
    own = generator.normal(size=4000) + membership
    level = np.repeat(np.sort(generator.normal(size=1000)) - 9, 4)
    scores = np.where(own > np.where(membership, 1.5, 0.5), own, level)
    groups = tuple(f"g{i // 4}" for i in range(4000))
    together, free = (tpr_at_fpr(scores, membership, g, fpr=0.1) for g in (groups, alone(4000)))
    assert together.high - together.low < 1.15 * (free.high - free.low)


def test_copies_within_a_group_do_not_narrow_the_interval():
    generator = np.random.default_rng(2)
    membership = np.arange(400) < 200
    scores = generator.normal(size=400) + membership
    once = tpr_at_fpr(scores, membership, alone(400), fpr=0.1)
    twice = np.repeat(scores, 2), np.repeat(membership, 2)
    grouped = tpr_at_fpr(*twice, tuple(np.repeat(alone(400), 2).tolist()), fpr=0.1)
    assert grouped.value == once.value
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high), abs=0.02)
    apart = twice[0] + 1e-9 * (np.arange(800) % 2)  # texts of different groups that tie would widen it by themselves
    ungrouped = tpr_at_fpr(apart, twice[1], alone(800), fpr=0.1)
    assert ungrouped.high - ungrouped.low < 0.8 * (once.high - once.low)


def test_groups_count_in_their_own_class():
    membership = np.arange(400) < 200
    level = np.repeat(np.random.default_rng(5).normal(size=40), 10)
    names = tuple(f"g{i // 10}" for i in range(400))
    free, members, nonmembers = (
        tpr_at_fpr(level + membership, membership, groups, fpr=0.1)
        for groups in (alone(400), names[:200] + alone(200), alone(200) + names[200:])
    )
    assert nonmembers.low < members.low < free.low
    assert free.value == members.value == nonmembers.value


def test_one_group_per_class_excludes_no_value():
    membership = np.arange(400) < 200
    scores = np.random.default_rng(5).normal(size=400) + membership
    found = tpr_at_fpr(scores, membership, ("a",) * 200 + ("b",) * 200, fpr=0.1)
    assert (found.low, found.high) == (0, 1)


def test_a_thousand_texts_are_measured_quickly():
    generator = np.random.default_rng(0)
    started = time.perf_counter()
    for _ in range(5):
        tpr_at_fpr(generator.normal(size=1000), np.arange(1000) < 500, alone(1000))
    assert (time.perf_counter() - started) / 5 < 0.05
