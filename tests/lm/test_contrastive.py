"""Samples from the contrast of two models, against one row at a time without a cache, written as a plain loop."""

from functools import partial

import numpy as np
import pytest
import torch

from byheart.lm import generate
from byheart.lm.contrastive import Contrast, ReferenceModel, contrast_logits, sample_contrastively
from byheart.lm.forward import Scorer
from byheart.lm.preserve_state import as_base_model, preserve_training_state
from testing.wrapped import tuned

PREFIX = np.array([5, 9, 40], dtype=np.int64)
SETTINGS = {"samples": 3, "max_new_tokens": 6, "temperature": 1.5, "seed": 3}


def contrast(target, base, alpha, plausibility):
    """The formula for one row of probabilities."""
    return [
        np.log(p) + alpha * (np.log(p) - np.log(q)) if p >= plausibility * max(target) else -np.inf
        for p, q in zip(target, base, strict=True)
    ]


@pytest.mark.parametrize(("alpha", "plausibility"), [(0.5, 0.1), (2.0, 0.01), (0.0, 1.0)])
def test_contrast_equals_the_formula(alpha, plausibility):
    target, base = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(1)) * 2
    found = contrast_logits(target, base, Contrast(alpha, plausibility))
    for row, p, q in zip(found, target.double().softmax(1).tolist(), base.double().softmax(1).tolist(), strict=True):
        assert row.tolist() == pytest.approx(contrast(p, q, alpha, plausibility), abs=1e-4)
        assert 1 <= row.isfinite().sum() < 50


def probabilities(module, ids):
    given = torch.tensor([ids])
    with torch.no_grad():
        return module(input_ids=given, attention_mask=torch.ones_like(given)).logits[0, -1].double().softmax(0).tolist()


def plain(model, base, row, alpha, plausibility):
    """One sample, with a complete pass of both models for every token."""
    chance = np.random.default_rng([SETTINGS["seed"], row]).random(SETTINGS["max_new_tokens"])
    ids = PREFIX.tolist()
    for step in range(SETTINGS["max_new_tokens"]):
        scores = np.array(contrast(probabilities(model, ids), probabilities(base, ids), alpha, plausibility))
        weights = np.exp((scores - scores.max()) / SETTINGS["temperature"])
        ids.append(int(np.searchsorted(np.cumsum(weights / weights.sum()), chance[step], side="right")))
    return ids[len(PREFIX) :]


@pytest.mark.parametrize("method", ["full", "head", "lora", "prefix", "prompt", "p_tuning"])
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_samples_equal_a_plain_loop(tiny, architecture, method, alpha, monkeypatch):
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])
    base, model = tiny(architecture), tuned(tiny(architecture), method)
    scorer = Scorer(model, 30, torch.float32)  # two samples in a batch
    found = sample_contrastively(scorer, ReferenceModel(base), PREFIX, Contrast(alpha, 0.02), **SETTINGS)
    assert [f.tolist() for f in found] == [plain(model.module, base.module, i, alpha, 0.02) for i in range(3)]


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt", "p_tuning"])
def test_an_adapter_serves_both_models(tiny, method):
    base, model = tiny("llama"), tuned(tiny("llama"), method)
    scorer = Scorer(model, 100, torch.float32)
    switched = ReferenceModel(model, partial(as_base_model, model.module))
    contrasted = Contrast(0.7, 0.02)
    wanted = sample_contrastively(scorer, ReferenceModel(base), PREFIX, contrasted, **SETTINGS)
    with preserve_training_state(model.module):
        found = sample_contrastively(scorer, switched, PREFIX, contrasted, **SETTINGS)
    assert [f.tolist() for f in found] == [w.tolist() for w in wanted]
    own = sample_contrastively(scorer, ReferenceModel(model), PREFIX, contrasted, **SETTINGS)
    assert [o.tolist() for o in own] != [w.tolist() for w in wanted]


def test_the_first_samples_depend_neither_on_their_number_nor_on_the_batch(tiny):
    base, model = tiny("llama"), tuned(tiny("llama"), "lora")

    def sampled(samples, budget, **changes):
        scorer = Scorer(model, budget, torch.float32)
        settings = {**SETTINGS, "samples": samples, **changes}
        return [
            s.tolist()
            for s in sample_contrastively(scorer, ReferenceModel(base), PREFIX, Contrast(0.5, 0.05), **settings)
        ]

    assert sampled(3, 12) == sampled(7, 500)[:3]
    assert sampled(3, 12) != sampled(3, 12, seed=4)


def test_without_contrast_the_reference_is_not_read(tiny):
    model = tuned(tiny("llama"), "lora")
    scorer, unread = Scorer(model, 100, torch.float32), tiny("llama")
    unread.module.forward = None
    alone = sample_contrastively(scorer, ReferenceModel(model), PREFIX, Contrast(0.7, 0.05), **SETTINGS)
    found = sample_contrastively(scorer, ReferenceModel(unread), PREFIX, Contrast(0.0, 0.05), **SETTINGS)
    assert [f.tolist() for f in found] == [a.tolist() for a in alone]
