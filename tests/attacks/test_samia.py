"""Continuations of the first half of a text, and the recall of its second half."""

import zlib
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import byheart
from byheart.attacks.samia import samia
from byheart.core import registry
from byheart.core.evidence import Generations, evidence_from_arrays, evidence_to_arrays
from byheart.core.types import Texts
from byheart.lm import train
from byheart.lm.forward import Scorer
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import tokenize
from byheart.observations.continuations import continuations
from testing.reading import texts_of
from testing.wrapped import tuned

words = st.lists(st.sampled_from(["the", "The", "river", "北", "mill."]), max_size=8).map(" ".join)
cases = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=4)), min_size=1, max_size=5)


def read(texts):
    """Texts as pairs of the second half and the generated tokens."""
    written = [w for _, several in texts for w in several]
    starts = np.cumsum([0, *(len(several) for _, several in texts)])
    return Generations(written=tuple(written), rest=tuple(rest for rest, _ in texts), starts=starts)


def recall(written, rest):
    """The authors' ROUGE-1, word by word."""
    left, found = written.split(), 0
    for word in rest.split():
        if word in left:
            left.remove(word)
            found += 1
    return found / len(rest.split()) if rest.split() else 0.0


@given(cases)
def test_the_score_is_the_mean_recall(texts):
    expected = [sum(recall(w, rest) for w in several) / len(several) for rest, several in texts]
    assert np.allclose(samia(read(texts)), expected, rtol=1e-12)
    weighted = [
        sum(recall(w, rest) * len(zlib.compress(w.encode())) for w in several) / len(several) for rest, several in texts
    ]
    assert np.allclose(samia(read(texts), compressed=True), weighted, rtol=1e-12)


def test_by_hand():
    """One of four words was generated twice and occurs once in the text: it counts once."""
    texts = [("a b b c", ["b a a x", "c  b\nb a"]), ("d", ["x"]), ("", ["d"]), ("d d d", [""])]
    assert samia(read(texts)).tolist() == [(2 / 4 + 1) / 2, 0, 0, 0]


def test_scores_are_finite_and_independent_of_other_texts():
    texts = [("a b", ["a", "b b"]), ("\udc80 c", ["\udc80"]), (" ", ["\x00"])]
    scores = samia(read(texts), compressed=True)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    for i, text in enumerate(texts):
        assert samia(read([text]), compressed=True) == scores[i]


def test_members_score_higher():
    known = [("the old mill by the river", ["the old mill by a lake", "the mill by the river"])] * 3
    unknown = [("the old mill by the river", ["seven of us went away", "and the rest is silence"])] * 3
    scores = samia(read(known + unknown))
    assert scores[:3].min() > scores[3:].max()


def test_the_authors_suffix_of_a_nominal_length_is_not_the_second_half():
    """The authors' second half starts after 16 words for every text, so a text with 16 words has nothing to recall."""

    def authors(text, candidate, nominal=32):
        rest, written = text.split(" ")[round(nominal * 0.5) :], candidate.split(" ")[round(nominal * 0.5) :]
        if not rest or not written:
            return 0.0
        return sum((Counter(rest) & Counter(written)).values()) / len(rest)

    full, half = " ".join(f"w{i}" for i in range(32)), " ".join(f"w{i}" for i in range(16))
    assert authors(full, full) == 1
    assert authors(half, half) == 0
    assert samia(read([(" ".join(half.split()[8:]), [" ".join(half.split()[8:])])])) == 1
    longer = full + " " + " ".join(f"w{i}" for i in range(16, 32) if i % 2)
    assert (
        authors(full, " ".join(full.split()[:16]) + longer[len(full) :]) == 0.5
    )  # the part that we truncate has a recall too


# Generated continuations


def observed(model, texts, budget=200, **settings):
    scorer = Scorer(model, budget, torch.float32)
    return continuations(scorer, tokenize(model.tokenizer, texts, 100), **settings)


def test_the_two_halves_are_the_text(tiny, architecture, sentences):
    model = tiny(architecture)
    texts = texts_of([sentences[0], " wrote a letter.", "ab", "is"], ["", "The queen", "", "What"])
    tokens = tokenize(model.tokenizer, texts, 100)
    found = observed(model, texts, samples=2)
    assert found.starts.tolist() == [0, 2, 4, 6, 8]
    assert len(found.written) == 8
    for i, (scored, rest) in enumerate(zip(texts.scored, found.rest, strict=True)):
        assert rest
        assert scored.endswith(rest)
        count = tokens.lengths[i] - tokens.first[i]
        ids = model.tokenizer(rest, add_special_tokens=False)["input_ids"]
        assert abs(len(ids) - (count - count // 2)) <= 1  # tokenized again, a half may have other tokens


@pytest.mark.parametrize("method", [None, "lora", "head", "prefix", "prompt", "p_tuning"])
def test_continuations_do_not_depend_on_order_and_batch(tiny, method, sentences):
    model = tuned(tiny("llama"), method)
    texts = texts_of([s * (1 + i % 2) for i, s in enumerate(sentences[:6])], ["", "Once", "", "", "Then", ""])
    found = observed(model, texts, samples=2)
    order = [5, 1, 3]
    differing = 0
    for budget in (1, 90, 10_000):
        other = observed(model, texts.take(order), budget, samples=2)
        assert other.rest == tuple(found.rest[i] for i in order)
        expected = [found.written[2 * i + j] for i in order for j in range(2)]
        differing += sum(a != b for a, b in zip(other.written, expected, strict=True))
    differing += sum(a != b for a, b in zip(observed(model, texts, samples=1).written, found.written[::2], strict=True))
    assert differing <= 1  # a random number at the exact border of two tokens


def test_different_texts_use_different_random_numbers(tiny, sentences):
    model = tiny("llama")
    twins = Texts(("a", "b"), (sentences[0],) * 2)
    written = observed(model, twins, samples=1, top_k=300, temperature=5.0).written
    assert written[0] != written[1]


def test_a_model_that_memorized_a_text_recalls_it(tiny, sentences):
    model = tiny("llama")
    texts = texts_of(sentences[:4])
    tokens = tokenize(model.tokenizer, texts_of(sentences[:2]), 100)
    settings = byheart.core.config.Training(epochs=100, batch_size=2, warmup=0.0, schedule="constant")
    made = registry.choose("methods", "full")(model)
    how = {"learning_rate": 3e-3, "key": "0b", "precision": torch.float32, "budget": 500}
    list(train.train(LanguageModel(made.module, model.tokenizer, "m"), tokens, training=settings, **how))
    scores = samia(observed(model, texts, samples=4))
    assert scores[:2].min() > 0.8
    assert scores[:2].min() > scores[2:].max()


def test_generations_are_stored_without_pickle():
    found = read([("a b", ["", "b\udc80"]), ("", ["北", "x"])])
    again = evidence_from_arrays("Generations", evidence_to_arrays(found))
    assert again.written == found.written
    assert again.rest == found.rest
    assert np.array_equal(again.starts, found.starts)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_a_study_from_end_to_end(tiny_folder, tmp_path, method, sentences):
    rows = [
        f'{{"id": "{i}", "prompt": "Number {i}:", "completion": "{s} ({i * 37})"}}' for i, s in enumerate(sentences * 2)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows))
    requested = {
        "name": "continued",
        "models": str(tiny_folder("gemma")),
        "datasets": [{"files": {"path": str(tmp_path / "pairs.jsonl")}}],
        "data": {"train": 12, "members": 8, "nonmembers": 10, "validation": 5, "max_tokens": 60, "near_duplicate": 1.0},
        "methods": [method],
        "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01},
        "attacks": ["samia"],
        "observations": [{"continuations": {"samples": 2}}],
        "metrics": ["auc"],
    }
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    # The base, the initialized prompt or prefix, and one epoch.
    assert sorted((r.epoch, r.initialized) for r in results.rows if r.metric == "auc") == [
        (0, False),
        (0, True),
        (1, False),
    ]
    assert {r.value for r in results.rows if r.metric == "passes" and r.attack == "samia"} == {2.0}
