"""Exact memorization and extraction strength: against plain loops, a real greedy generation, and a planted null."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.attacks.discoverable import discoverable
from byheart.attacks.exact_memorization import exact_memorization as em_scores
from byheart.attacks.extraction_strength import extraction_strength as es_scores
from byheart.core.evidence import SuffixSpans
from byheart.core.types import TokenStats
from byheart.lm import generate
from byheart.lm.tokens import tokenize
from byheart.metrics.exact_memorization import exact_memorization
from byheart.metrics.extraction_strength import extraction_strength
from byheart.observations.greedy_continuation import greedy_continuation
from testing.reading import scorer, texts_of

ranked_texts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=6)


def stats(texts):
    ranks = np.array([rank for text in texts for rank in text], np.int64)
    zeros = np.zeros(len(ranks), np.float32)
    starts = np.cumsum([0, *map(len, texts)])
    return TokenStats(logp=zeros - 1, starts=starts, mean=zeros, std=zeros + 1, entropy=zeros, rank=ranks)


def strength(text):
    """The definition: the shortest beginning after which every token is the most likely one."""
    shortest = next(k for k in range(len(text) + 1) if not any(text[k:]))
    return 1 - shortest / len(text)


@given(ranked_texts)
def test_both_scores_equal_plain_loops(texts):
    assert em_scores(stats(texts)) == pytest.approx([text.count(0) / len(text) for text in texts])
    assert es_scores(stats(texts)) == pytest.approx([strength(text) for text in texts])


def test_a_text_that_greedy_decoding_generates_from_its_beginning_has_that_strength(tiny, sentences, monkeypatch):
    """The last six tokens of every second text are what the model generates; others keep their own."""
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tiny("llama")
    score, tokens = scorer(model), tokenize(model.tokenizer, texts_of(sentences), max_tokens=24)
    ends = tokens.starts[1:]
    split = SuffixSpans(begin=tokens.lengths - 6, end=tokens.lengths)
    ids, written = tokens.ids.copy(), greedy_continuation(score, tokens, split).written.reshape(-1, 6)
    for end, own in list(zip(ends, written, strict=True))[::2]:
        ids[end - 6 : end] = own
    generated = dataclasses.replace(tokens, ids=ids)
    is_generated = discoverable(greedy_continuation(score, generated, split)).extracted
    assert is_generated[::2].all()
    assert not is_generated.all()
    stats = score(generated)
    found = es_scores(stats) * np.diff(stats.starts) >= 6 - 1e-9
    assert found.tolist() == is_generated.tolist()


@pytest.mark.parametrize(("metric", "scores"), [(exact_memorization, em_scores), (extraction_strength, es_scores)])
def test_the_metrics_are_means_over_texts_of_both_classes(metric, scores):
    chance = np.random.default_rng(0)
    members, nonmembers = (
        stats([list((chance.random(length) > share).astype(int)) for length in chance.integers(3, 12, 60)])
        for share in (0.8, 0.4)
    )
    groups = tuple(map(str, range(60)))
    found = metric(members, nonmembers, groups, groups)
    assert found["of=members"].value == pytest.approx(scores(members).mean())
    assert found["of=nonmembers"].value == pytest.approx(scores(nonmembers).mean())
    assert found["over=nonmembers"].value == pytest.approx(scores(members).mean() - scores(nonmembers).mean())
    assert found["over=nonmembers"].low > 0
    assert (found["over=nonmembers"].members, found["over=nonmembers"].nonmembers) == (60, 60)
    ends = [found[name] for name in ("of=members", "of=nonmembers")]
    assert all(0 <= e.low < e.value < e.high <= 1 for e in ends)


@pytest.mark.parametrize("metric", [exact_memorization, extraction_strength])
def test_the_interval_of_the_difference_covers_zero_without_leakage(metric):
    chance, covered, groups = np.random.default_rng(1), 0, tuple(str(i // 2) for i in range(80))
    for _ in range(400):
        sides = [
            stats([list((chance.random(10) > shared).astype(int)) for shared in np.repeat(chance.beta(2, 2, 40), 2)])
            for _ in range(2)
        ]
        over = metric(*sides, groups, groups)["over=nonmembers"]
        covered += over.low <= 0 <= over.high
    assert 0.92 < covered / 400 < 0.98
