"""DC-PDD and its token frequencies, against plain loops and the authors' arithmetic."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import Frequencies
from byheart.core.types import LogProbs, Texts
from byheart.lm.forward import Scorer
from byheart.lm.tokens import tokenize

dc_pdd = registry.load_function("attacks", "dc_pdd")
frequencies = registry.load_function("observations", "frequencies")

token = st.tuples(st.floats(-30, 0, width=32), st.floats(1e-6, 0.5), st.booleans())
readings = st.lists(st.lists(token, min_size=1, max_size=20), min_size=1, max_size=6)


def made(texts):
    """Evidence from (log-probability, frequency, first) by text; a text's first token is always a first occurrence."""
    starts = np.cumsum([0, *map(len, texts)])
    logp, frequency, first = (np.array([t[i] for text in texts for t in text]) for i in range(3))
    first[starts[:-1]] = True
    return LogProbs(logp=logp.astype(np.float32), starts=starts), Frequencies(
        frequency=frequency, first=first.astype(bool), starts=starts
    )


@given(readings, st.floats(1e-3, 20))
def test_it_equals_the_papers_formula(texts, a):
    target, common = made(texts)
    expected = []
    for i, j in zip(target.starts, target.starts[1:], strict=False):
        terms = [
            min(math.exp(float(target.logp[t])) * math.log(1 / common.frequency[t]), a)
            for t in range(i, j)
            if common.first[t]
        ]
        expected.append(sum(terms) / len(terms))
    np.testing.assert_allclose(dc_pdd(target, common, ceiling=a), expected, rtol=1e-9)


def test_hand_made_numbers():
    half = math.log(0.5)
    target, common = made([[(half, math.exp(-4), True), (half, math.exp(-9), False), (half, math.exp(-2), True)]])
    assert dc_pdd(target, common, ceiling=10.0) == pytest.approx([1.5])
    assert dc_pdd(target, common, ceiling=1.5) == pytest.approx([1.25])
    assert dc_pdd(target, common).tolist() == [0.01]  # both have a probability above 0.001


def test_a_likely_rare_token_counts_more_than_a_likely_common_one():
    rare, common = (made([[(-1.0, f, True)] * 3]) for f in (1e-5, 1e-2))
    assert dc_pdd(*rare, ceiling=100.0) > dc_pdd(*common, ceiling=100.0)


def test_the_authors_arithmetic():
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 12, 40)
    counts = generator.integers(0, 50, 12)
    logp = -generator.gamma(2.0, size=40)
    # As in the authors' code: positions of first occurrences, smoothed frequencies, values above a set to a.
    positions, seen = [], []
    for at, one in enumerate(ids):
        if one not in seen:
            positions.append(at)
            seen.append(one)
    smoothed = (counts + 1) / (sum(counts) + len(counts))
    ce = np.exp(logp)[positions] * np.log(1 / smoothed[ids[positions]])
    ce[ce > 0.01] = 0.01
    first = np.isin(np.arange(40), positions)
    common = Frequencies(frequency=smoothed[ids], first=first, starts=np.array([0, 40]))
    found = dc_pdd(LogProbs(logp=logp, starts=np.array([0, 40])), common)
    assert found == pytest.approx([ce.mean()], rel=1e-12)


def test_the_ceiling_is_positive():
    with pytest.raises(SettingError, match="attacks dc_pdd: ceiling"):
        registry.choose("attacks", "dc_pdd", {"ceiling": 0})


# The observation.


def texts_of(sentences, name="t", prompts=()):
    return Texts(tuple(f"{name}{i}" for i in range(len(sentences))), tuple(sentences), tuple(prompts))


@pytest.mark.parametrize("prompted", [False, True])
def test_frequencies_equal_a_plain_loop(tiny, architecture, sentences, prompted):
    model = tiny(architecture)
    scorer = Scorer(model, 4096, torch.float32)
    prompts = ["Who wrote a letter?"] * 6 if prompted else ()
    tokens = tokenize(model.tokenizer, texts_of(sentences[:6], prompts=prompts), 64)
    known = tokenize(model.tokenizer, texts_of(sentences[6:10], "k"), 64)
    found = frequencies(scorer, tokens, known)

    def scored(made, i):
        return [int(t) for t in made.ids[made.starts[i] : made.starts[i + 1]][made.first[i] :]]

    counts = Counter(t for i in range(len(known)) for t in scored(known, i))
    total = sum(counts.values())
    expected, first = [], []
    for i in range(len(tokens)):
        own = scored(tokens, i)
        expected += [(counts[t] + 1) / (total + 300) for t in own]
        first += [t not in own[:at] for at, t in enumerate(own)]
    np.testing.assert_allclose(found.frequency, expected, rtol=1e-12)
    assert found.first.tolist() == first
    assert found.starts.tolist() == tokens.scored_starts.tolist()
    assert not np.all(found.first)


def test_frequencies_of_all_tokens_sum_to_one(tiny, sentences):
    model = tiny("llama")
    every = np.arange(3, 259)
    tokens = tokenize(model.tokenizer, texts_of([model.tokenizer.decode([t]) + " x" for t in every[100:110]]), 64)
    known = tokenize(model.tokenizer, texts_of(sentences[:5], "k"), 64)
    found = frequencies(Scorer(model, 4096, torch.float32), tokens, known)
    assert ((found.frequency > 0) & (found.frequency < 1)).all()
    counts = np.bincount(known.scored_ids, minlength=300)
    unseen = found.frequency[counts[tokens.scored_ids] == 0]
    assert len(unseen)
    np.testing.assert_allclose(unseen * (len(known.scored_ids) + 300), 1.0)


def test_frequencies_do_not_depend_on_other_texts(tiny, sentences):
    model = tiny("llama")
    scorer = Scorer(model, 4096, torch.float32)
    known = tokenize(model.tokenizer, texts_of(sentences[6:10], "k"), 64)
    many = frequencies(scorer, tokenize(model.tokenizer, texts_of(sentences[:5]), 64), known)
    for i in range(5):
        alone = frequencies(scorer, tokenize(model.tokenizer, texts_of([sentences[i]]), 64), known)
        assert many.frequency[many.starts[i] : many.starts[i + 1]].tolist() == alone.frequency.tolist()
        assert many.first[many.starts[i] : many.starts[i + 1]].tolist() == alone.first.tolist()


def test_a_corpus_is_counted_too(tiny, sentences, tmp_path, monkeypatch):
    model = tiny("gemma")
    scorer = Scorer(model, 4096, torch.float32)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:3]), 64)
    known = tokenize(model.tokenizer, texts_of(sentences[6:8], "k"), 64)
    corpus = [*sentences[8:13], ""]
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps({"body": s}) for s in corpus))
    monkeypatch.setattr("byheart.observations.frequencies.BLOCK", 2)
    found = frequencies(scorer, tokens, known, source=str(tmp_path / "c.jsonl"), field="body")
    counts = np.bincount(known.scored_ids, minlength=300)
    for text in corpus:
        counts += np.bincount(model.tokenizer(text, add_special_tokens=False)["input_ids"], minlength=300)
    np.testing.assert_allclose(found.frequency, ((counts + 1) / (counts.sum() + 300))[tokens.scored_ids], rtol=1e-12)
    assert counts[1] == 0  # BOS is not counted, although the tokenizer adds one to every text


def test_a_corpus_that_cannot_be_read_is_refused(tiny, sentences, tmp_path):
    scorer = Scorer(tiny("llama"), 4096, torch.float32)
    tokens = tokenize(scorer.model.tokenizer, texts_of(sentences[:2]), 64)
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read"):
        frequencies(scorer, tokens, tokens, source=str(tmp_path / "none.jsonl"))
    (tmp_path / "c.jsonl").write_text('{"body": "a"}')
    with pytest.raises(DataError, match=r"c\.jsonl line 1: no field 'text'\. Available fields: body\."):
        frequencies(scorer, tokens, tokens, source=str(tmp_path / "c.jsonl"))
