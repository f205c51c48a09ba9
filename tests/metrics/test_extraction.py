"""Extraction and its sampling probability, against plain loops and real samples."""

import numpy as np
import pytest
import torch

from byheart.attacks.discoverable import discoverable
from byheart.attacks.probabilistic import probabilistic
from byheart.core.errors import DataError, ModelError
from byheart.lm import forward, generate
from byheart.lm.forward import Scorer
from byheart.lm.generate import GenerationRequest, generate_samples
from byheart.lm.sampling_probs import row_sampling_logprobs
from byheart.lm.tokens import tokenize
from byheart.lm.trunk_and_head import causal_lm
from byheart.observations.greedy_continuation import greedy_continuation
from byheart.observations.prefix_suffix_split import prefix_suffix_split
from byheart.observations.sampling_logprobs import sampling_logprobs
from testing.reading import texts_of
from testing.wrapped import tuned

METHODS = (None, "full", "head", "lora", "prefix", "prompt", "p_tuning")
PROMPTS = ("", "Once", "", "", "The queen wrote of", "")


def row(tokens, i):
    return tokens.ids[tokens.starts[i] : tokens.starts[i + 1]].tolist()


def read(model, strings, prompts=()):
    return tokenize(model.tokenizer, texts_of(strings, prompts), 100)


def scorer(model, budget=90):
    return Scorer(model, budget, torch.float32)


def test_the_prefix_is_fifty_tokens_or_half_of_the_text_or_the_prompt(tiny, sentences):
    model = tiny("gemma")
    tokens = read(model, [sentences[0] * 9, sentences[1], "Hi", " the answer."], ["", "", "", "A question?"])
    found = prefix_suffix_split(tokens)
    lengths = tokens.lengths.tolist()
    assert lengths[0] == 100
    assert found.begin.tolist() == [50, lengths[1] // 2, 1, tokens.first[3]]
    assert found.end.tolist() == lengths
    short = prefix_suffix_split(tokens, suffix=2)
    assert (short.end - short.begin).tolist() == [2, 2, lengths[2] - 1 if lengths[2] < 3 else 2, 2]


def test_an_explicit_prefix_has_exactly_its_tokens(tiny, sentences):
    tokens = read(tiny("llama"), [*sentences[:3], " the answer."], ["", "", "", "A question?"])
    found = prefix_suffix_split(tokens, prefix=5, suffix=4)
    assert found.begin.tolist() == [5, 5, 5, tokens.first[3]]
    assert (found.end - found.begin <= 4).all()


def test_a_prefix_as_long_as_a_text_raises_an_error_with_the_reason(tiny, sentences):
    tokens = read(tiny("llama"), [*sentences[:3], "The queen."])
    least = int(tokens.lengths.min())
    with pytest.raises(
        DataError,
        match=rf"prefix_suffix_split: prefix = {least}, but 1 of 4 .*\('t3' has {least}\).* prefix to {least - 1}",
    ):
        prefix_suffix_split(tokens, prefix=least)
    assert (prefix_suffix_split(tokens, prefix=least - 1).end - least + 1 >= 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_suffix_is_extracted_if_greedy_generation_returns_it(tiny, architecture, method, sentences, monkeypatch):
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tuned(tiny(architecture), method)
    tokens = read(model, sentences[:6], PROMPTS)
    found = greedy_continuation(scorer(model), tokens, prefix_suffix_split(tokens, suffix=9))
    for i, (true, written) in enumerate(
        zip(parts(found.true, found.starts), parts(found.written, found.written_starts), strict=True)
    ):
        begin = prefix_suffix_split(tokens).begin[i]
        assert true == row(tokens, i)[begin : begin + 9]
        ids = row(tokens, i)[:begin]
        for _ in range(9):
            ids.append(int(next_logits(model, ids).argmax()))
        assert written == ids[begin : begin + len(true)]


@pytest.mark.parametrize("method", [None, "lora", "prefix", "prompt", "p_tuning"])
def test_greedy_extraction_equals_transformers_generate(tiny, architecture, method, sentences, monkeypatch):
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tuned(tiny(architecture), method)
    tokens = read(model, sentences[:3])
    found = greedy_continuation(scorer(model), tokens, prefix_suffix_split(tokens, prefix=7, suffix=8))
    for i, written in enumerate(parts(found.written, found.written_starts)):
        ids = torch.tensor([row(tokens, i)[:7]])
        theirs = model.module.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=None
        )
        assert written == theirs[0, 7:].tolist()


def parts(values, starts):
    return [p.tolist() for p in np.split(values, starts[1:-1])]


def next_logits(model, ids):
    with torch.no_grad():
        given = torch.tensor([ids])
        return model.module(input_ids=given, attention_mask=torch.ones_like(given)).logits[0, -1].double()


@pytest.mark.parametrize("method", [None, "lora", "prompt"])
def test_extraction_does_not_depend_on_order_and_batch(tiny, method, sentences):
    model = tuned(tiny("llama"), method)
    strings = [s * (1 + i % 2) for i, s in enumerate(sentences[:6])]
    tokens = read(model, strings, PROMPTS)
    found = greedy_continuation(scorer(model), tokens, prefix_suffix_split(tokens))
    likely = sampling_logprobs(scorer(model), tokens, prefix_suffix_split(tokens))
    order = [5, 1, 3]
    other = read(model, [strings[i] for i in order], [PROMPTS[i] for i in order])
    for budget in (1, 70, 10_000):
        again = greedy_continuation(scorer(model, budget), other, prefix_suffix_split(other))
        assert parts(again.written, again.written_starts) == [
            parts(found.written, found.written_starts)[i] for i in order
        ]
        repeated = sampling_logprobs(scorer(model, budget), other, prefix_suffix_split(other))
        for one, i in zip(parts(repeated.logp, repeated.starts), order, strict=True):
            assert one == pytest.approx(parts(likely.logp, likely.starts)[i], abs=1e-4)


def plain_logp(logits, token, temperature, top_k, top_p):
    """Log-probability of a token, by sorting and counting."""
    order = sorted(range(len(logits)), key=lambda v: -float(logits[v]))
    weights = {v: np.exp((float(logits[v]) - float(logits[order[0]])) / temperature) for v in order[:top_k]}
    total, kept, passed = sum(weights.values()), {}, 0.0
    for v in order[:top_k]:
        if passed / total < top_p:
            kept[v] = weights[v]
        passed += weights[v]
    return np.log(kept[token] / sum(kept.values())) if token in kept else -np.inf


@pytest.mark.parametrize("method", [None, "head", "lora", "prefix", "prompt", "p_tuning"])
def test_sampling_probabilities_of_a_suffix_equal_a_plain_loop(tiny, architecture, method, sentences):
    assert_chances(tuned(tiny(architecture), method), (1.5, 40, 0.9), sentences)


@pytest.mark.parametrize(
    "settings", [(1.0, 40, 1.0), (0.7, None, 1.0), (1.5, None, 0.8), (2.0, 30, 0.6), (1.0, 1, 1.0)]
)
def test_sampling_probabilities_after_top_k_and_top_p(tiny, settings, sentences):
    assert_chances(tuned(tiny("llama"), "prompt"), settings, sentences)


def assert_chances(model, settings, sentences):
    temperature, top_k, top_p = settings
    tokens = read(model, sentences[:3], PROMPTS[:3])
    parted = prefix_suffix_split(tokens, suffix=5)
    found = sampling_logprobs(scorer(model), tokens, parted, temperature=temperature, top_k=top_k, top_p=top_p)
    for i, several in enumerate(parts(found.logp, found.starts)):
        ids, begin = row(tokens, i), parted.begin[i]
        expected = [
            plain_logp(next_logits(model, ids[:at]), ids[at], temperature, top_k, top_p)
            for at in range(begin, parted.end[i])
        ]
        assert several == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("settings", [(1.0, 12, 1.0), (0.8, None, 0.7), (1.7, 20, 0.9)])
def test_top_k_and_top_p_equal_those_of_transformers(settings):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    temperature, top_k, top_p = settings
    logits = torch.randn(60, 100, generator=torch.Generator().manual_seed(0)) * 3
    true = torch.arange(60) % 100
    theirs = TemperatureLogitsWarper(temperature)(None, logits)
    theirs = TopKLogitsWarper(top_k)(None, theirs) if top_k else theirs
    theirs = TopPLogitsWarper(top_p)(None, theirs).log_softmax(1).gather(1, true[:, None])[:, 0]
    ours = row_sampling_logprobs(logits, true, temperature, top_k, top_p)
    assert (ours.isinf() == theirs.isinf()).all()
    assert 0 < ours.isinf().sum() < 60
    torch.testing.assert_close(ours, theirs)


def test_the_sampling_probability_is_the_frequency_of_the_suffix(tiny, sentences, monkeypatch):
    """No sampling is needed: 4,000 samples of each suffix of two tokens agree, within what a binomial allows."""
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tiny("llama")
    temperature, top_k = 6.0, 12
    tokens, wanted = likely_suffixes(model, read(model, sentences[:4]))
    parted = prefix_suffix_split(tokens, prefix=6, suffix=2)
    found = sampling_logprobs(scorer(model), tokens, parted, temperature=temperature, top_k=top_k)
    once = probabilistic(found).scores
    openings = [GenerationRequest(np.array(row(tokens, i)[:6]), 2) for i in range(4)]
    several = generate_samples(model, openings, range(4), samples=4000, top_k=top_k, temperature=temperature)
    for i, written in enumerate(several):
        share = np.mean([w.tolist() == wanted[i] for w in written])
        assert 0.005 < once[i] < 0.5
        assert abs(share - once[i]) < 4 * np.sqrt(once[i] * (1 - once[i]) / 4000)


def likely_suffixes(model, tokens):
    """The same texts with two tokens after the first six that the model finds likely, though not its first choice."""
    import dataclasses

    rows, wanted = [], []
    for i in range(len(tokens)):
        ids = row(tokens, i)[:6]
        for _ in range(2):
            ids.append(int(next_logits(model, ids).topk(3).indices[i % 3]))
        rows.append(ids)
        wanted.append(ids[6:])
    starts = np.arange(len(rows) + 1) * 8
    return dataclasses.replace(tokens, ids=np.array([t for r in rows for t in r]), starts=starts), wanted


@pytest.mark.parametrize("method", [None, "prefix", "prompt"])
def test_greedy_generation_equals_sampling_from_one_candidate(tiny, method, sentences, monkeypatch):
    """Two definitions agree: a model generates a suffix greedily if each of its tokens is the most likely one."""
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    model = tuned(tiny("llama"), method)
    tokens, _ = likely_suffixes(model, read(model, sentences[:6]))  # a third of them are the most likely tokens
    parted = prefix_suffix_split(tokens, prefix=6)
    written = discoverable(greedy_continuation(scorer(model), tokens, parted))
    among_one = probabilistic(sampling_logprobs(scorer(model), tokens, parted, top_k=1), n=1)
    assert written.extracted.tolist() == among_one.extracted.tolist()
    assert 0 < written.extracted.sum() < 6


def test_a_model_with_overflowing_logits_raises_an_error(tiny, sentences, monkeypatch):
    model = tiny("llama")
    tokens = read(model, sentences[:2])
    real = forward.logits
    monkeypatch.setattr(forward, "logits", lambda *inputs, **settings: real(*inputs, **settings) * torch.nan)
    with pytest.raises(ModelError, match="not numbers"):
        sampling_logprobs(scorer(model), tokens, prefix_suffix_split(tokens))
    assert causal_lm(model.module) is model.module
