"""Attributable extraction: the rule as a loop; a suffix that every prefix gives; the control's pairs on a tiny model."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.attacks.attributable import attributable
from byheart.attacks.discoverable import discoverable
from byheart.core.errors import DataError
from byheart.core.evidence import GreedyContinuation, SuffixSpans
from byheart.lm.generate import GenerationRequest, generate_greedy
from byheart.lm.tokens import tokenize
from byheart.metrics.extraction_excess import extraction_excess
from byheart.observations.mismatched_continuation import _others, mismatched_continuation
from testing.reading import scorer, texts_of

suffixes = st.lists(st.integers(0, 2), min_size=1, max_size=6)
written = st.lists(st.integers(0, 2), max_size=6)
cases = st.lists(st.tuples(suffixes, written, written), min_size=1, max_size=4)


def read(true, generated):
    return GreedyContinuation(
        true=np.array([t for text in true for t in text], dtype=np.int64),
        starts=np.cumsum([0, *map(len, true)]),
        written=np.array([t for text in generated for t in text], dtype=np.int64),
        written_starts=np.cumsum([0, *map(len, generated)]),
    )


@given(cases)
def test_it_requires_the_own_prefix_and_rejects_the_other(texts):
    true, own, other = zip(*texts, strict=True)
    found = attributable(read(true, own), read(true, other))
    for i in range(len(texts)):
        shares = [
            sum(1 for _ in itertools.takewhile(lambda p: p[0] == p[1], zip(true[i], g[i], strict=False))) / len(true[i])
            for g in (own, other)
        ]
        assert found.scores[i] == max(0, shares[0] - shares[1])
        assert found.extracted[i] == (shares[0] == 1 and shares[1] < 1)
        assert found.tokens[i] == len(true[i])


def test_other_suffixes_raise():
    with pytest.raises(DataError, match="attributable"):
        attributable(read([[1, 2]], [[1, 2]]), read([[1, 3]], [[1, 2]]))


def planted(recalled, common, count=200):
    """The first half are members. Some members' suffixes are recalled, and some suffixes of both halves are common."""
    chance = np.random.default_rng(0)
    true = [chance.integers(0, 50, 8).tolist() for _ in range(count)]
    is_common = chance.random(count) < common
    is_recalled = (np.arange(count) < count // 2) & (chance.random(count) < recalled)
    own = [t if c or r else [99] * 8 for t, c, r in zip(true, is_common, is_recalled, strict=True)]
    other = [t if c else [99] * 8 for t, c in zip(true, is_common, strict=True)]
    return read(true, own), read(true, other), is_recalled & ~is_common


def measured(found):
    count = len(found.scores)
    return extraction_excess(found.extracted, np.arange(count) < count // 2, tuple(map(str, range(count))))


def test_it_finds_what_was_recalled_and_no_suffix_that_every_prefix_gives():
    own, other, recalled = planted(recalled=0.4, common=0.3)
    found = attributable(own, other)
    assert found.extracted.tolist() == recalled.tolist()
    assert discoverable(own).extracted.sum() > found.extracted.sum()
    assert measured(found).low > 0.1


def test_common_suffixes_alone_are_not_attributed():
    own, other, _ = planted(recalled=0.0, common=0.3)
    assert discoverable(own).extracted.any()
    assert not attributable(own, other).extracted.any()
    assert measured(attributable(own, other)).value == 0


def test_the_control_continues_the_prefix_of_the_text_half_the_list_away(tiny):
    model = scorer(tiny("llama"))
    strings = ["one two three four five six", "a b c d e f g h", "x y z x y z", "p q r s"]
    tokens = tokenize(model.model.tokenizer, texts_of(strings), 64)
    begin, end = np.array([3, 6, 2, 2]), tokens.text_lengths
    found = mismatched_continuation(model, tokens, SuffixSpans(begin=begin, end=end))
    longest = int(end.max())
    for i in range(4):
        other = (i + 2) % 4
        own = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        suffix = own[begin[i] : end[i]]
        prefix = tokens.ids[tokens.starts[other] : tokens.starts[other] + begin[other]][-(longest - len(suffix)) :]
        (expected,) = generate_greedy(
            model.model, [GenerationRequest(prefix, len(suffix))], budget=model.budget, precision=model.precision
        )
        assert found.true[found.starts[i] : found.starts[i + 1]].tolist() == suffix.tolist()
        assert found.written[found.written_starts[i] : found.written_starts[i + 1]].tolist() == list(expected)
    one = tokenize(model.model.tokenizer, texts_of(strings[:1]), 64)
    with pytest.raises(DataError, match="Audit at least two texts"):
        mismatched_continuation(model, one, SuffixSpans(begin=begin[:1], end=end[:1]))


def control_prefixes(tiny, monkeypatch, strings, begin):
    """The words of the prefixes that are continued, of texts whose prefixes have `begin` tokens."""
    model = scorer(tiny("llama"))
    tokens = tokenize(model.model.tokenizer, texts_of(strings), 64)
    continued = []

    def no_tokens(_model, requests, **_):
        continued.extend(tuple(map(int, r.ids)) for r in requests)
        return [np.zeros(0, dtype=np.int64) for _ in requests]

    monkeypatch.setattr("byheart.observations._greedy.generate_greedy", no_tokens)
    mismatched_continuation(model, tokens, SuffixSpans(begin=np.full(len(tokens), begin), end=tokens.text_lengths))
    own = [tuple(map(int, tokens.ids[s : s + begin])) for s in tokens.starts[:-1]]
    return own, continued


def test_an_equal_prefix_is_no_control(tiny, monkeypatch):
    """Templates and instructions repeat: the text half the list away may have the same prefix."""
    strings = [
        *["Sum up: one two", "Sum up: p q r", "Sum up: x y z"],
        "Tell me about a b c",
        *["Sum up: d e f", "Sum up: g"],
    ]
    own, continued = control_prefixes(tiny, monkeypatch, strings, 4)
    assert len(set(own)) == 2
    assert [own.index(c) for c in continued] == [3, 3, 3, 0, 3, 3]


def test_texts_of_one_prefix_have_no_control(tiny, monkeypatch):
    own, continued = control_prefixes(tiny, monkeypatch, ["Sum up: one two", "Sum up: p q r", "Sum up: x"], 4)
    assert continued == own


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=2, max_size=9))
def test_the_control_is_the_first_with_another_prefix_from_half_the_list_on(prefixes):
    count = len(prefixes)
    for i, other in enumerate(_others(prefixes)):
        in_order = [(i + count // 2 + step) % count for step in range(count)]
        assert other == next((j for j in in_order if prefixes[j] != prefixes[i]), in_order[0])
