"""Reward margin: the formula as a plain loop, the null, and other tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.attacks.reward_margin import reward_margin
from byheart.core.errors import DataError
from byheart.core.types import LogProbs
from byheart.metrics.auc import auc

numbers = st.floats(-12, 0, width=32)
responses = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8)
drawn_pairs = st.lists(st.tuples(responses, responses), min_size=1, max_size=6)


def packed(texts):
    return LogProbs(logp=np.array([x for t in texts for x in t], np.float32), starts=np.cumsum([0, *map(len, texts)]))


@given(drawn_pairs)
def test_it_is_the_difference_of_the_responses_gains(found):
    expected = []
    for chosen, rejected in found:
        gains = [sum(target - base for target, base in response) for response in (chosen, rejected)]
        expected.append(gains[0] - gains[1])
    evidence = [packed([[t[model] for t in pair[side]] for pair in found]) for side in (0, 1) for model in (0, 1)]
    assert np.allclose(reward_margin(*evidence), expected, atol=1e-4)


def test_another_tokenization_of_either_response_raises():
    same, other = packed([[-1.0] * 3, [-1.0] * 2]), packed([[-1.0] * 2, [-1.0] * 3])
    for place in range(4):
        evidence = [other if i == place else same for i in range(4)]
        with pytest.raises(DataError, match="same tokens"):
            reward_margin(*evidence)


def drawing(chance, gain, count=200, length=8):
    """Both responses of every pair become likelier by chance; the margin of members grows by `gain` nats."""
    bases = chance.normal(-3, 0.5, (2, count, length))
    gains = chance.normal(0.2, 0.1, bases.shape)
    gains[0, : count // 2] += gain / length
    starts = np.arange(count + 1) * length
    passes = [np.minimum(x, -1e-3) for side in (0, 1) for x in (bases[side] + gains[side], bases[side])]
    scores = reward_margin(*(LogProbs(logp=p.ravel(), starts=starts) for p in passes))
    return auc(scores, np.arange(count) < count // 2, tuple(map(str, range(count))))


def test_pairs_without_a_planted_margin_are_at_chance():
    chance = np.random.default_rng(4)
    nulls = [drawing(chance, 0.0) for _ in range(40)]
    assert sum(null.low <= 0.5 <= null.high for null in nulls) >= 36
    assert drawing(chance, 1.0).low > 0.8
