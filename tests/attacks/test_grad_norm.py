"""Gradient norms of each text against a plain loop, and the attack that uses them."""

import numpy as np
import pytest
import torch

import byheart
from byheart.attacks.grad_norm import grad_norm
from byheart.core.errors import ModelError
from byheart.core.evidence import Gradients
from byheart.lm import train
from byheart.lm.forward import Scorer
from byheart.lm.load import LanguageModel
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from byheart.observations.gradients import gradients
from testing.reading import texts_of
from testing.wrapped import tuned

METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")


def scorer(model, precision=torch.float32):
    return Scorer(model, 200, precision)


def plain_norm(model, prompt, scored):
    """Gradient of one text's loss, computed from the model's logits, for all trained weights as one vector."""
    tokenizer = model.tokenizer
    before = bos_ids(tokenizer) + (tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else [])
    ids = before + tokenizer(scored, add_special_tokens=False)["input_ids"]
    model.module.zero_grad()
    logits = model.module(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
    ).logits[0]
    logits = logits[logits.shape[0] - len(ids) :]  # virtual tokens come first
    first = max(len(before), 1)
    loss = -sum(torch.log_softmax(logits[at - 1], 0)[ids[at]] for at in range(first, len(ids))) / (len(ids) - first)
    loss.backward()
    complete = torch.cat(
        [p.grad.flatten() for p in model.module.parameters() if p.requires_grad and p.grad is not None]
    )
    model.module.zero_grad()
    return float(complete.double().norm())


@pytest.mark.parametrize("method", [None, *METHODS])
def test_norms_equal_a_plain_loop(tiny, architecture, method, sentences):
    model = tuned(tiny(architecture), method)
    texts = texts_of([*sentences[:3], "Hi there."], ["", "Once upon", "", ""])
    found = gradients(scorer(model), tokenize(model.tokenizer, texts, 64))
    expected = [plain_norm(model, p, s) for p, s in zip(texts.prompts, texts.scored, strict=True)]
    np.testing.assert_allclose(found.norm, expected, rtol=1e-4)


@pytest.mark.parametrize("method", [None, "head", "prefix", "lora"])
def test_norms_do_not_depend_on_other_texts(tiny, method, sentences):
    model = tuned(tiny("llama"), method)
    chosen = [s * (1 + i % 3) for i, s in enumerate(sentences[:5])]
    together = gradients(scorer(model), tokenize(model.tokenizer, texts_of(chosen), 128)).norm
    for i in (3, 0, 4):
        alone = gradients(scorer(model), tokenize(model.tokenizer, texts_of([chosen[i]]), 128)).norm
        np.testing.assert_allclose(alone, together[i], rtol=1e-6)


def test_cached_hidden_states_give_the_norms_of_the_complete_model(tiny, sentences):
    model = tuned(tiny("gpt2"), "head")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:4]), 64)
    assert model.hidden == {}
    found = gradients(scorer(model), tokens)
    assert list(model.hidden) == [(tokens.digest, torch.float32)]
    forgetful = LanguageModel(model.module, model.tokenizer, model.name)
    np.testing.assert_allclose(found.norm, gradients(scorer(forgetful), tokens).norm, rtol=1e-5)


@pytest.mark.parametrize("method", [None, "lora", "prompt"])
def test_the_model_is_not_changed(tiny, method, sentences):
    model = tuned(tiny("gpt2"), method)
    model.module.train()
    model.module.get_input_embeddings().eval()
    trained = next(iter(train.trainable_parameters(model.module).values()))
    trained.grad = torch.full_like(trained, 7.0)
    modes = [m.training for m in model.module.modules()]
    before = {n: (p.requires_grad, p.detach().clone()) for n, p in model.module.named_parameters()}
    one = gradients(scorer(model), tokenize(model.tokenizer, texts_of(sentences[:2]), 64)).norm
    two = gradients(scorer(model), tokenize(model.tokenizer, texts_of(sentences[:2]), 64)).norm
    assert (one == two).all()  # in training mode dropout would change them
    assert [m.training for m in model.module.modules()] == modes
    for name, parameter in model.module.named_parameters():
        assert before[name][0] == parameter.requires_grad
        assert torch.equal(before[name][1], parameter)
        assert (parameter.grad is None) == (parameter is not trained)
    assert (trained.grad == 7.0).all()
    assert "forward" not in vars(byheart.lm.trunk_and_head.trunk(model.module))


@pytest.mark.parametrize("method", [None, "lora", "head", "prefix"])
def test_bfloat16_is_near_float32(tiny, method, sentences):
    model = tuned(tiny("llama"), method)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:4]), 64)
    exact, rough = (gradients(scorer(model, p), tokens).norm for p in (torch.float32, torch.bfloat16))
    np.testing.assert_allclose(rough, exact, rtol=0.15)
    assert (rough != exact).any()


def test_a_model_without_trained_parameters_is_refused(tiny, sentences):
    model = tiny("gpt2")
    model.module.requires_grad_(False)
    with pytest.raises(ModelError, match="no parameter requires gradients"):
        gradients(scorer(model), tokenize(model.tokenizer, texts_of(sentences[:2]), 64))


def test_overflowing_numbers_are_refused(tiny, sentences):
    model = tiny("gpt2")
    with torch.no_grad():
        model.module.lm_head.weight[3, 2] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        gradients(scorer(model), tokenize(model.tokenizer, texts_of(sentences[:2]), 64))


def test_the_score_is_minus_the_norm():
    scores = grad_norm(Gradients(norm=np.array([2.0, 0.0, 5.5], dtype=np.float32)))
    assert scores.tolist() == [-2.0, 0.0, -5.5]
    assert scores.dtype == np.float64


@pytest.mark.parametrize("method", ["prompt", "head"])
def test_a_study_from_end_to_end(tiny_folder, tmp_path, method):
    results = byheart.run(
        {
            "name": "gradients",
            "models": str(tiny_folder("llama")),
            "datasets": [{"records": {"count": 60}}],
            "data": {"train": 16, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
            "methods": [method],
            "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01},
            "attacks": ["grad_norm"],
            "metrics": ["auc"],
        },
        store=tmp_path / "store",
    )
    assert not results.failed, results.failed
    assert sorted(r.epoch for r in results.rows if r.metric == "auc" and not r.initialized) == [0, 1]
    assert {r.value for r in results.rows if r.metric == "passes" and r.attack == "grad_norm"} == {3.0}
