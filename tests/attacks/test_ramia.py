"""RaMIA: the trimmed mean as a plain loop; a member's near copies count as found; the null."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.attacks.ramia import ramia
from byheart.attacks.reference import reference
from byheart.core.errors import DataError
from byheart.core.evidence import Variants
from byheart.core.types import LogProbs
from byheart.metrics.auc import auc

numbers = st.floats(-12, 0)
texts = st.lists(
    st.tuples(
        st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8),
        st.lists(st.tuples(numbers, numbers), min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=6,
)


def packed(texts, model):
    logp = np.array([token[model] for tokens, _ in texts for token in tokens])
    return LogProbs(logp=logp, starts=np.cumsum([0, *(len(tokens) for tokens, _ in texts)]))


def variants(texts, model):
    loglik = np.array([near[model] for _, several in texts for near in several])
    return Variants(loglik=loglik, starts=np.cumsum([0, *(len(several) for _, several in texts)]))


def evidence(texts):
    return packed(texts, 0), packed(texts, 1), variants(texts, 0), variants(texts, 1)


@given(texts, st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.9]))
def test_it_is_the_mean_gain_of_the_range_without_the_lowest(texts, trim):
    expected = []
    for tokens, several in texts:
        own = math.fsum(t - b for t, b in tokens) / len(tokens)
        gains = sorted([own, *(t - b for t, b in several)], reverse=True)
        kept = gains[: max(1, math.floor((1 - trim) * len(gains)))]
        expected.append(math.fsum(kept) / len(kept))
    assert np.allclose(ramia(*evidence(texts), trim=trim), expected, atol=1e-9)


def test_neighbors_of_other_texts_raise():
    target, base, near, near_base = evidence([([(-1.0, -2.0)], [(-1.0, -1.0)] * 2), ([(-1.0, -2.0)], [(-1.0, -1.0)])])
    other = Variants(loglik=near_base.loglik, starts=np.array([0, 1, 3]))
    with pytest.raises(DataError, match=r"ramia: 2 texts, but neighbours of 2 texts"):
        ramia(target, base, near, other)
    with pytest.raises(DataError, match="same tokens"):
        ramia(target, LogProbs(logp=np.full(3, -1.0), starts=np.array([0, 2, 3])), near, near_base)


def edited_copies(gain, seed=0, count=400, near=7):
    """Every audited text is an edited copy. The texts near it, and not itself, are close to a training text of members."""
    chance = np.random.default_rng(seed)
    members = np.arange(count) < count // 2
    level = chance.normal(-3, 0.5, (count, near + 1))
    change = chance.normal(0, 0.1, level.shape)
    is_close = (np.arange(near + 1) > 0) & (chance.random(level.shape) < 0.5)
    tuned = level + change + gain * (members[:, None] & is_close)
    texts = [([(t[0], b[0])], list(zip(t[1:], b[1:], strict=True))) for t, b in zip(tuned, level, strict=True)]
    return evidence(texts), members, tuple(map(str, range(count)))


def test_near_copies_of_training_texts_are_found_where_the_exact_text_is_not():
    (target, base, near, near_base), members, groups = edited_copies(gain=0.3)
    exact = auc(reference(target, base), members, groups)
    assert exact.low < 0.5 < exact.high
    found = auc(ramia(target, base, near, near_base), members, groups)
    assert found.low > 0.9
    assert auc(ramia(target, base, near, near_base, trim=0.0), members, groups).value < found.value


def test_without_training_on_the_range_it_is_at_chance():
    texts, members, groups = edited_copies(gain=0.0)
    null = auc(ramia(*texts), members, groups)
    assert null.low < 0.5 < null.high
