"""Audits of more texts than `max_texts` sample whole groups, members and non-members alike."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.auditing.render_texts import render_texts, sample
from byheart.auditing.texts import parse_texts


def records(sizes):
    """Records in groups of these sizes, in a mixed order."""
    groups = [f"u{i}" for i, size in enumerate(sizes) for _ in range(size)]
    order = np.random.default_rng(0).permutation(len(groups))
    return parse_texts("member", [{"text": f"Text {i}.", "group": groups[i]} for i in order])


def chat(i, turns):
    replies = [{"role": role, "content": f"{role} {i} {t}"} for t in range(turns) for role in ("user", "assistant")]
    return {"id": f"c{i}", "messages": replies}


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.integers(1, 60), st.integers(1, 60))
def test_at_most_one_group_is_divided_and_a_sample_contains_every_smaller_one(sizes, maximum, larger):
    texts = records(sizes)
    sampled = sample(texts, maximum)
    assert len(sampled) == min(maximum, len(texts))
    size = Counter(t.group for t in texts)
    assert sum(n < size[g] for g, n in Counter(t.group for t in sampled).items()) <= 1
    assert [t for t in texts if t in sampled] == list(sampled)
    assert {t.name for t in sampled} <= {t.name for t in sample(texts, max(maximum, larger))}


def test_group_sizes_of_a_sample_are_those_of_the_texts():
    """Drawn text by text, 200 of 1,000 texts in groups of five were in about 130 groups."""
    sampled = sample(records([5] * 200), 200)
    assert Counter(Counter(t.group for t in sampled).values()) == {5: 40}


def test_duplicates_are_one_group():
    texts = parse_texts("member", [f"Text {i % 50}." for i in range(150)])
    assert set(Counter(t.content for t in sample(texts, 60)).values()) == {3}


def test_texts_without_groups_are_the_sample_of_older_audits():
    texts = parse_texts("member", [f"Text {i}." for i in range(300)])
    chosen = np.sort(np.random.default_rng(0).permutation(300)[:100])
    assert sample(texts, 100) == tuple(texts[i] for i in chosen)


def test_complete_chats_are_sampled_at_random():
    texts = parse_texts("member", [chat(i, 1 + i % 4) for i in range(100)])
    assert sum(1 + i % 4 for i in range(100)) == 250
    sampled = sample(texts, 120)
    assert 117 <= sum(len(t.chat) // 2 for t in sampled) <= 120
    assert max(int(t.name[1:]) for t in sampled) > 80
    assert sample(texts[3:4], 2) == texts[3:4]


@pytest.mark.parametrize("maximum", [40, 1000])
def test_rendered_groups_are_complete(maximum):
    rendered, groups = render_texts("member", records([4] * 50), maximum, None)
    assert len(rendered) == min(maximum, 200)
    assert set(Counter(groups).values()) == {4}
