"""Shares and their differences: shares of zero and one, and coverage of the intervals."""

import functools

import numpy as np
import pytest

from byheart.core.errors import DataError
from byheart.stats import proportions
from byheart.stats.proportions import (
    Share,
    member_and_nonmember_shares,
    mid_p,
    paired_share_difference,
    pooled_share,
    share_difference,
    share_with_interval,
)


def alone(count):
    return tuple(map(str, range(count)))


def test_shares_of_zero_and_one_have_an_interval():
    none, every = (
        share_with_interval(np.zeros(30, dtype=bool), alone(30)),
        share_with_interval(np.ones(30, dtype=bool), alone(30)),
    )
    assert none[:2] == (0, 0)
    assert every[0] == every[2] == 1
    assert none.high == pytest.approx(1 - 0.05 ** (1 / 30))  # half of (1 - p)^30 is 2.5 %
    assert every.low == pytest.approx(1 - none.high)


def test_equal_outcomes_in_a_group_count_as_one_text():
    stored = np.repeat([True, False, True, False, False, True], 10)
    groups = tuple(str(i // 10) for i in range(60))
    assert share_with_interval(stored, groups)[1:] == pytest.approx(mid_p(3.0, 6.0), abs=0.1)
    assert (
        share_with_interval(stored, groups).high - share_with_interval(stored, groups).low
        > share_with_interval(stored, alone(60)).high - share_with_interval(stored, alone(60)).low
    )


def test_members_and_nonmembers_are_counted_separately():
    membership = np.array([True, False, True, False, True])
    members, others = member_and_nonmember_shares(np.array([True, True, False, False, True]), membership, alone(5))
    assert members == share_with_interval(np.array([True, False, True]), alone(3))
    assert others == share_with_interval(np.array([True, False]), alone(2))
    with pytest.raises(DataError, match="no texts"):
        member_and_nonmember_shares(membership, np.ones(5, dtype=bool), alone(5))


def test_half_widths_of_a_difference_are_added_in_squares():
    found = share_difference(Share(0.5, 0.4, 0.7), Share(0.1, 0.0, 0.2))
    assert found == pytest.approx((0.4, 0.4 - np.hypot(0.1, 0.1), 0.4 + np.hypot(0.2, 0.1)))


def test_positive_correlation_narrows_a_paired_difference():
    first = np.arange(100) < 30
    second = np.arange(100) < 20
    close, far = (
        paired_share_difference(first, second, alone(100)),
        paired_share_difference(first, second[::-1], alone(100)),
    )
    free = share_difference(share_with_interval(first, alone(100)), share_with_interval(second, alone(100)))
    assert close.value == far.value == pytest.approx(0.1)
    assert close.high - close.low < free.high - free.low < far.high - far.low
    same = paired_share_difference(np.zeros(9, dtype=bool), np.zeros(9, dtype=bool), alone(9))
    assert same.value == 0
    assert same.low < 0 < same.high


def test_the_interval_over_seeds_has_the_outermost_ends():
    assert pooled_share([Share(0.2, 0.1, 0.3), Share(0.4, 0.3, 0.5)]) == pytest.approx((0.3, 0.1, 0.5))


@pytest.mark.parametrize(
    ("texts", "truth", "together"), [(32, (0.3, 0.02, 0.02, 0.02), 0.5), (60, (0.9, 0.1, 0.05, 0.05), 0.9)]
)
def test_intervals_have_nominal_coverage(texts, truth, together, monkeypatch):
    """Members and non-members of the fine-tuned and the base model: the share, its excess, its rise, and the excess of its rise."""
    monkeypatch.setattr(proportions, "mid_p", functools.cache(mid_p))
    chance = np.random.default_rng(0)
    names, (tuned, others, before, others_before) = alone(texts), truth
    stored, rounds = np.zeros(4), 400

    def both(after, first):
        drawn = chance.random(texts)
        again = np.where(chance.random(texts) < together, drawn, chance.random(texts))
        return drawn < after, again < first

    expected = (tuned, tuned - others, tuned - before, tuned - before - (others - others_before))
    for _ in range(rounds):
        (a, b), (c, d) = both(tuned, before), both(others, others_before)
        rises = paired_share_difference(a, b, names), paired_share_difference(c, d, names)
        found = (
            share_with_interval(a, names),
            share_difference(share_with_interval(a, names), share_with_interval(c, names)),
            rises[0],
            share_difference(*rises),
        )
        stored += [f.low <= true <= f.high for f, true in zip(found, expected, strict=True)]
    assert (stored / rounds > 0.92).all(), stored / rounds
