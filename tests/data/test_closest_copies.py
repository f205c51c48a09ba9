"""Copies of texts among generated texts, against plain loops over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.data.closest_copies import longest_common_runs, nearest_similarity
from byheart.data.near_duplicates import similarity
from byheart.data.text_units import text_units

ids = st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=6)
words = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=20).map(" ".join), min_size=1, max_size=6)


def common_run(first, second):
    runs = [
        n
        for i in range(len(first))
        for j in range(len(second))
        for n in range(1, min(len(first) - i, len(second) - j) + 1)
        if first[i : i + n] == second[j : j + n]
    ]
    return max(runs, default=0)


@given(ids, ids)
def test_the_longest_run_equals_a_plain_loop(texts, others):
    found = longest_common_runs(
        [np.array(t, dtype=np.int64) for t in texts], [np.array(o, dtype=np.int64) for o in others]
    )
    assert found.tolist() == [max(common_run(t, o) for o in others) for t in texts]


def test_a_run_does_not_continue_in_the_next_text():
    texts = [np.array([1, 2, 3, 4])]
    assert longest_common_runs(texts, [np.array([9, 1, 2]), np.array([3, 4, 9])]).tolist() == [2]
    assert longest_common_runs(texts, []).tolist() == [0]


def own_containment(text, other):
    own, others = (
        {tuple(units[i : i + 3]) for i in range(len(units) - 2)} for units in (text_units(text), text_units(other))
    )
    return len(own & others) / len(own) if len(text_units(text)) >= 10 else 0.0


@given(words, words)
def test_the_nearest_similarity_equals_a_plain_loop(texts, others):
    expected = [
        max(max(similarity(t, o, with_containment=False), own_containment(t, o)) for o in others) for t in texts
    ]
    assert nearest_similarity(texts, others).tolist() == pytest.approx(expected)


def test_a_small_part_of_a_text_is_no_copy_and_a_text_inside_another_is():
    text = " ".join(f"word{i}" for i in range(60))
    part = " ".join(f"word{i}" for i in range(12))
    assert similarity(text, part) == 1.0
    assert nearest_similarity([text], [part])[0] < 0.3
    assert nearest_similarity([text], [f"before it {text} and after it many other words {'more ' * 90}"])[0] == 1.0
    assert nearest_similarity([text], []).tolist() == [0.0]
