"""Batches of texts: each text once, within the budget, with minimal padding in a training step."""

from itertools import combinations, pairwise

import numpy as np
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from byheart.core.types import Texts
from byheart.lm import loss
from byheart.lm.batching import batches, least_padded_batches, step_batches
from byheart.lm.tokens import tokenize
from testing.wrapped import tuned

LENGTHS = st.lists(st.integers(1, 300), min_size=0, max_size=9)


def cost(lengths, found, apart):
    return sum(lengths[b].max() * len(b) + apart for b in found)


@given(LENGTHS, st.integers(1, 1200), st.integers(0, 1200))
def test_each_text_is_in_one_batch_longest_first_within_the_budget(lengths, budget, apart):
    lengths = np.array(lengths, dtype=np.int64)
    for found in (list(batches(lengths, budget)), list(least_padded_batches(lengths, budget, apart))):
        order = np.concatenate([np.empty(0, dtype=int), *found])
        assert sorted(order) == list(range(len(lengths)))
        assert (np.diff(lengths[order]) <= 0).all()
        assert all(len(b) == 1 or lengths[b].max() * len(b) <= budget for b in found)


@given(LENGTHS, st.integers(1, 1200), st.integers(0, 1200))
def test_no_other_batching_costs_less(lengths, budget, apart):
    lengths = np.array(lengths, dtype=np.int64)
    found = list(least_padded_batches(lengths, budget, apart))
    order = np.argsort(-lengths, kind="stable")
    n = len(order)
    every = (
        [order[a:b] for a, b in pairwise((0, *cuts, n))] for k in range(n) for cuts in combinations(range(1, n), k)
    )
    allowed = [w for w in every if all(len(b) == 1 or lengths[b].max() * len(b) <= budget for b in w)]
    assert cost(lengths, found, apart) == min((cost(lengths, way, apart) for way in allowed), default=0)


def test_short_texts_are_not_padded_to_a_long_text(tiny):
    """On a CPU: two very different lengths are two batches, two similar lengths are one."""
    module = tiny("llama").module
    far, near = np.array([40, 200, 200, 40, 40]), np.array([190, 200, 200, 190, 190])
    assert [b.tolist() for b in step_batches(module, far, 4096)] == [[1, 2], [0, 3, 4]]
    assert [b.tolist() for b in step_batches(module, near, 4096)] == [[1, 2, 0, 3, 4]]


def test_a_step_batches_texts_of_different_lengths_separately(tiny, sentences, monkeypatch):
    model = tiny("llama")
    chosen = [sentences[0] * 4, *sentences[1:6]]
    tokens = tokenize(model.tokenizer, Texts(tuple(map(str, range(6))), tuple(chosen)), 120)
    passed, real = [], loss.hidden_rows
    monkeypatch.setattr(loss, "hidden_rows", lambda *a: passed.append(a[2].tolist()) or real(*a))
    loss.StepLoss(model, tokens, Accelerator(cpu=True), torch.float32, 4096).gradients(np.arange(6))
    assert [len(p) for p in passed] == [1, 5]
    assert passed[0] == [0]


def test_a_head_with_a_cached_trunk_trains_on_one_batch_per_step(tiny, sentences, monkeypatch):
    model = tuned(tiny("llama"), "head")
    chosen = [sentences[0] * 4, *sentences[1:6]]
    tokens = tokenize(model.tokenizer, Texts(tuple(map(str, range(6))), tuple(chosen)), 120)
    of_all, real = loss.StepLoss(model, tokens, Accelerator(cpu=True), torch.float32, 4096), loss.raw_logits
    rows = []
    monkeypatch.setattr(loss, "raw_logits", lambda *a: rows.append(len(a[1])) or real(*a))
    of_all.gradients(np.arange(6))
    assert rows == [len(tokens.scored_ids)]
