"""Drift against a plain loop over single texts, for every method: virtual tokens must not shift a position."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from byheart.core.types import Texts
from byheart.lm.activations import spaced_entries
from byheart.lm.forward import Scorer
from byheart.lm.load import load
from byheart.lm.tokens import tokenize
from byheart.observations.activations_base import activations_base
from byheart.observations.drift import drift
from byheart.observations.validation_activations_base import validation_activations_base
from byheart.observations.validation_drift import validation_drift
from testing.wrapped import tuned

METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")
POSITIONS = 3
BUDGET = 60  # several batches of texts of several lengths


def tokens_of(model, sentences, *, prompts=False):
    names = tuple(f"t{i}" for i in range(len(sentences)))
    texts = Texts(names, tuple(sentences), tuple("Once. " * (i % 3) for i in range(len(sentences))) if prompts else ())
    return tokenize(model.tokenizer, texts, 40)


def scorer(model):
    return Scorer(model, BUDGET, torch.float32)


def plain_states(module, ids):
    """All hidden states, attention weights and next-token log-probabilities of one text without padding."""
    with torch.no_grad():
        out = module(
            input_ids=ids[None],
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            output_hidden_states=True,
            output_attentions=True,
        )
    return out.hidden_states, out.attentions, out.logits.log_softmax(-1)


def plain_drift(base, module, ids, positions):
    """The definitions, one position, layer and head at a time."""
    states, base_states = plain_states(module, ids), plain_states(base, ids)
    total = len(ids)
    hidden, cosine, attention, virtual, kl = [], [], [], [], []
    for p in positions:
        pairs = [
            (h[0, p + h.shape[1] - total].double(), b[0, p].double())
            for h, b in zip(states[0], base_states[0], strict=True)
        ]
        hidden.append([float((h - b).norm() / b.norm()) for h, b in pairs])
        cosine.append([float(1 - h @ b / h.norm() / b.norm()) for h, b in pairs])
        moved, on_virtual = [], []
        for a, b in zip(states[1], base_states[1], strict=True):
            extra = a.shape[3] - total
            row = p + a.shape[2] - total
            heads = [
                [float(abs(a[0, h, row, extra + k] - b[0, h, p, k])) for k in range(p + 1)] for h in range(a.shape[1])
            ]
            on_heads = [float(a[0, h, row, :extra].sum()) for h in range(a.shape[1])]
            moved.append(np.mean([(sum(ks) + v) / 2 for ks, v in zip(heads, on_heads, strict=True)]))
            on_virtual.append(np.mean(on_heads))
        attention.append(moved)
        virtual.append(on_virtual)
        tuned_logp = states[2][0, p + states[2].shape[1] - total].double()
        base_logp = base_states[2][0, p].double()
        kl.append(float((base_logp.exp() * (base_logp - tuned_logp)).sum()))
    return [np.mean(v, axis=0) for v in (hidden, cosine, attention, virtual, kl)]


@pytest.mark.parametrize("method", METHODS)
def test_drift_is_the_plain_loop(tiny_folder, tiny, architecture, method, sentences):
    base = tiny(architecture)
    tokens = tokens_of(base, sentences, prompts=True)
    evidence = activations_base(scorer(base), tokens, positions=POSITIONS, top=10_000)
    model = tuned(tiny(architecture), method)
    found = drift(scorer(model), tokens, evidence)
    plain_base = AutoModelForCausalLM.from_pretrained(tiny_folder(architecture), attn_implementation="eager").eval()
    eager = tuned(tiny(architecture), method)
    inner = eager.module.get_base_model() if hasattr(eager.module, "get_base_model") else eager.module
    inner.set_attn_implementation("eager")
    eager.module.eval()
    entries = spaced_entries(tokens, texts=1000, positions=POSITIONS)
    assert found.text.tolist() == list(range(len(tokens)))
    for i in range(len(tokens)):
        ids = torch.from_numpy(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
        positions = entries.position[entries.text == i]
        assert (positions + 1 >= tokens.first[i]).all()
        assert (positions + 1 < tokens.lengths[i]).all()
        expected = plain_drift(plain_base, eager.module, ids, positions.tolist())
        numbers = (found.hidden, found.cosine, found.attention, found.virtual, found.next_token)
        for got, wanted in zip(numbers, expected, strict=True):
            np.testing.assert_allclose(got[i], wanted, rtol=2e-3, atol=6e-4)
    moved = found.next_token.mean()
    assert moved > 1e-3, "a method that changed nothing tests nothing"
    assert (found.virtual.mean() > 0.01) == (method in {"prefix", "prompt", "p_tuning"})
    if method == "head":
        assert found.hidden.max() == 0


def test_the_base_model_has_no_drift_and_the_attention_is_restored(tiny, architecture, sentences):
    base = tiny(architecture)
    tokens = tokens_of(base, sentences)
    before = base.module.config._attn_implementation
    evidence = activations_base(scorer(base), tokens)
    same = drift(scorer(base), tokens, evidence)
    assert base.module.config._attn_implementation == before
    for numbers in (same.hidden, same.cosine, same.attention, same.virtual, same.next_token):
        assert np.abs(numbers).max() == 0
    other = validation_drift(scorer(base), tokens, validation_activations_base(scorer(base), tokens))
    np.testing.assert_array_equal(other.hidden, same.hidden)


def test_fewer_next_tokens_give_a_lower_bound(tiny, sentences):
    base, model = tiny("llama"), tuned(tiny("llama"), "lora")
    tokens = tokens_of(base, sentences)
    divergences = [
        drift(scorer(model), tokens, activations_base(scorer(base), tokens, top=top)).next_token
        for top in (1, 20, 299, 300)
    ]
    for fewer, more in itertools.pairwise(divergences):
        assert (fewer <= more + 1e-5).all()
    assert (divergences[0] < divergences[-1] - 1e-3).any()


def test_texts_are_chosen_whatever_their_order(tiny, sentences):
    model = tiny("llama")
    tokens = tokens_of(model, sentences)
    chosen = set(spaced_entries(tokens, texts=3, positions=2).text.tolist())
    order = list(range(len(tokens)))[::-1]
    turned = tokenize(model.tokenizer, tokens.texts.take(order), 40)
    assert {order[i] for i in spaced_entries(turned, texts=3, positions=2).text.tolist()} == chosen
    assert len(chosen) == 3


def test_a_batch_leaves_a_text_alone(tiny, sentences):
    base, model = tiny("llama"), tuned(tiny("llama"), "prompt")
    tokens = tokens_of(base, sentences)
    evidence = activations_base(scorer(base), tokens)
    one_batch = drift(dataclasses.replace(scorer(model), budget=4096), tokens, evidence)
    np.testing.assert_allclose(drift(scorer(model), tokens, evidence).hidden, one_batch.hidden, atol=1e-5)


def test_a_model_loads_in_another_attention_implementation(tiny_folder):
    assert load(str(tiny_folder("llama"))).module.config._attn_implementation != "eager"
