"""Attacks on generated texts against plain loops, and the texts that a model generates for them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.attacks import _synthetic
from byheart.attacks.synthetic_ngram import synthetic_ngram
from byheart.attacks.synthetic_ngram_calibrated import synthetic_ngram_calibrated
from byheart.attacks.synthetic_similarity import synthetic_similarity
from byheart.attacks.synthetic_similarity_calibrated import synthetic_similarity_calibrated
from byheart.core.errors import DataError
from byheart.core.evidence import SyntheticTexts, evidence_from_arrays, evidence_to_arrays
from byheart.core.types import Texts
from byheart.data.text_units import text_units

words = st.lists(st.sampled_from(["the", "The", "river", "北", "mill.", "walks,"]), min_size=1, max_size=8).map(
    " ".join
)
corpora = st.lists(words, min_size=1, max_size=6)


def texts(strings):
    return Texts(tuple(f"t{i}" for i in range(len(strings))), tuple(strings))


def generated(strings):
    return SyntheticTexts(generated=tuple(strings))


def ngram_loop(record, corpus, n, vocabulary):
    """The paper's n-gram model, word by word: add-one smoothing, marks of the beginning, and the mean over words."""
    logp = []
    padded = [""] * (n - 1) + text_units(record)
    for j in range(n - 1, len(padded)):
        context, word = padded[j - n + 1 : j], padded[j]
        both = before = 0
        for text in corpus:
            other = [""] * (n - 1) + text_units(text)
            for i in range(n - 1, len(other)):
                if other[i - n + 1 : i] == context:
                    before += 1
                    both += other[i] == word
        logp.append(math.log((both + 1) / (before + vocabulary)))
    return sum(logp) / len(logp)


def distinct_words(*corpora):
    return len({word for corpus in corpora for text in corpus for word in text_units(text)})


def similarity_loop(record, corpus, n, k):
    def grams(text):
        units = text_units(text)
        return {tuple(units[i : i + n]) for i in range(max(1, len(units) - n + 1))}

    own = grams(record)
    shares = sorted((len(own & grams(t)) / len(own | grams(t)) for t in corpus), reverse=True)[:k]
    return sum(shares) / len(shares)


@given(corpora, corpora, st.integers(1, 3))
def test_ngram_scores_equal_the_loop(records, corpus, n):
    expected = [ngram_loop(r, corpus, n, distinct_words(corpus) + 1) for r in records]
    assert np.allclose(synthetic_ngram(generated(corpus), texts(records), n=n), expected, rtol=1e-12)


@given(corpora, corpora, corpora, st.integers(1, 3))
def test_calibrated_ngram_scores_subtract_the_reference(records, corpus, reference, n):
    vocabulary = distinct_words(corpus, reference) + 1
    expected = [ngram_loop(r, corpus, n, vocabulary) - ngram_loop(r, reference, n, vocabulary) for r in records]
    found = synthetic_ngram_calibrated(generated(corpus), generated(reference), texts(records), n=n)
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(corpora, corpora, st.integers(1, 3), st.integers(1, 8))
def test_similarities_equal_the_loop(records, corpus, n, k):
    expected = [similarity_loop(r, corpus, n, k) for r in records]
    assert np.allclose(synthetic_similarity(generated(corpus), texts(records), k=k, n=n), expected, rtol=1e-12)


@given(corpora, corpora, corpora, st.integers(1, 8))
def test_calibrated_similarities_compare_with_equally_many_texts(records, corpus, reference, k):
    top = min(k, len(corpus), len(reference))
    expected = [similarity_loop(r, corpus, 1, top) - similarity_loop(r, reference, 1, top) for r in records]
    found = synthetic_similarity_calibrated(generated(corpus), generated(reference), texts(records), k=k)
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_by_hand():
    """Two of the three words of "a b c" follow each other in the only generated text, "a b"."""
    vocabulary = 3  # a, b, and every other word
    logs = [math.log(2 / (1 + vocabulary)), math.log(2 / (1 + vocabulary)), math.log(1 / vocabulary)]
    assert synthetic_ngram(generated(["A b."]), texts(["a b c"])) == pytest.approx([sum(logs) / 3])
    assert synthetic_similarity(generated(["A b.", "x"]), texts(["a b c"]), k=1) == pytest.approx([2 / 3])
    assert synthetic_similarity(generated(["A b.", "x"]), texts(["a b c"])) == pytest.approx([1 / 3])


def test_similarities_in_blocks_are_equal(monkeypatch):
    strings = [f"word{i % 7} word{i % 11} word{i % 5}" for i in range(60)]
    whole = synthetic_similarity(generated(strings[:40]), texts(strings), k=3)
    monkeypatch.setattr(_synthetic, "MAX_SIMILARITIES", 130)  # three audited texts at a time
    assert np.array_equal(synthetic_similarity(generated(strings[:40]), texts(strings), k=3), whole)


def test_evidence_without_a_text_is_refused_and_is_stored_as_arrays():
    for none in ((), ("", " \n")):
        with pytest.raises(DataError, match="no text, or all are empty"):
            SyntheticTexts(generated=none)
    found = generated(["北", "", "two words"])
    assert evidence_from_arrays("SyntheticTexts", evidence_to_arrays(found)) == found


@pytest.mark.parametrize("name", ["llama", "gemma"])  # without and with BOS
def test_a_model_generates_texts_whose_first_ones_do_not_depend_on_their_number(tiny_folder, name):
    import torch

    from byheart.lm import load
    from byheart.lm.forward import Scorer
    from byheart.observations.synthetic_texts import synthetic_texts
    from byheart.observations.synthetic_texts_base import synthetic_texts_base

    scorer = Scorer(load.load(str(tiny_folder(name))), 4096, torch.float32)
    found = synthetic_texts(scorer, count=6, max_tokens=8)
    assert len(set(found.generated)) > 1
    assert synthetic_texts(scorer, count=2, max_tokens=8).generated == found.generated[:2]
    assert synthetic_texts_base(scorer, count=6, max_tokens=8) == found
    assert synthetic_texts(scorer, count=6, max_tokens=8, prompt="The old").generated != found.generated


def test_a_tokenizer_without_bos_and_eos_needs_a_prompt(tiny_folder):
    from transformers import AutoTokenizer

    from byheart.observations._synthetic import _start_ids

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("llama"))
    assert _start_ids(tokenizer, "") == [tokenizer.eos_token_id]
    tokenizer.eos_token = None
    assert _start_ids(tokenizer, "a") == tokenizer("a")["input_ids"]
    with pytest.raises(DataError, match=r"neither BOS nor EOS .* Set prompt\."):
        _start_ids(tokenizer, "")
