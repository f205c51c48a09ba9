"""HT-MIA: the rule as a plain loop; planted gains at difficult tokens; the null."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.attacks.hard_tokens import hard_tokens
from byheart.attacks.reference import reference
from byheart.core.errors import DataError
from byheart.core.types import LogProbs
from byheart.metrics.auc import auc

texts = st.lists(
    st.lists(st.tuples(st.floats(-12, 0, width=32), st.floats(-12, 0, width=32)), min_size=1, max_size=12),
    min_size=1,
    max_size=6,
)


def packed(texts):
    return LogProbs(logp=np.array([x for t in texts for x in t], np.float32), starts=np.cumsum([0, *map(len, texts)]))


@given(texts, st.sampled_from([0.1, 0.2, 0.5, 1.0]), st.sampled_from(["base", "target"]))
def test_it_is_the_share_of_the_least_likely_tokens_that_improved(texts, k, hard_for):
    expected = []
    for text in texts:
        order = sorted(range(len(text)), key=lambda i: (text[i][hard_for == "base"], i))
        hard = order[: max(1, math.floor(k * len(text)))]
        expected.append(sum(text[i][0] > text[i][1] for i in hard) / len(hard))
    target, base = (packed([[token[i] for token in text] for text in texts]) for i in (0, 1))
    assert np.allclose(hard_tokens(target, base, k=k, hard_for=hard_for), expected, atol=1e-12)


def test_another_tokenization_raises():
    with pytest.raises(DataError, match="same tokens"):
        hard_tokens(packed([[-1.0] * 3, [-1.0] * 2]), packed([[-1.0] * 2, [-1.0] * 3]))


def planted(gain, seed=0, count=400, length=40):
    """Every text improves at easy tokens, some much; the difficult tokens of members improve by `gain` nats, plus noise."""
    chance = np.random.default_rng(seed)
    base = np.where(chance.random((count, length)) < 0.3, -9.0, -2.0) + chance.normal(0, 0.3, (count, length))
    is_member = (np.arange(count) < count // 2)[:, None]
    easy, difficult = (
        base * chance.uniform(0.1, 1, (count, 1)),
        base + chance.normal(0, 0.5, base.shape) + gain * is_member,
    )
    target = np.minimum(np.where(base > -5, easy, difficult), -1e-3)
    starts = np.arange(count + 1) * length
    return [LogProbs(logp=a.ravel(), starts=starts) for a in (target, base)]


def measured(attack, evidence):
    count = len(evidence[0])
    return auc(attack(*evidence), np.arange(count) < count // 2, tuple(map(str, range(count))))


def test_gains_at_hard_tokens_are_found_where_the_mean_hides_them():
    evidence = planted(gain=0.4)
    found, mean = measured(hard_tokens, evidence), measured(reference, evidence)
    assert found.low > 0.75
    assert found.low > mean.high


def test_generalization_at_easy_tokens_is_not_membership():
    null = measured(hard_tokens, planted(gain=0.0))
    assert null.low < 0.5 < null.high


def test_the_base_model_itself_scores_zero():
    _, base = planted(gain=0.0)
    assert not hard_tokens(dataclasses.replace(base), base).any()
