"""Gradients of each text of a batch against one backward pass per text."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from byheart.core import registry
from byheart.core.config import Training
from byheart.core.types import Texts
from byheart.lm import batched_gradients, dp_sgd, train
from byheart.lm.batched_gradients import BatchedTextGradients, trained_linear_layers
from byheart.lm.load import LanguageModel
from byheart.lm.loss import StepLoss
from byheart.lm.tokens import tokenize
from byheart.stats.dp_accounting import DpSgdParameters

KEY = "00000000000000ab"
EXPERTS = "mixtral"
"""peft reads its experts' LoRA without calling the layers."""


def tokens_of(model, sentences, most=64):
    return tokenize(model.tokenizer, Texts(tuple(map(str, range(len(sentences)))), tuple(sentences)), most)


def made(model, method="dp_lora", **settings):
    """A model with changed adapters and without dropout, whose masks differ from batch to batch."""
    train.seed_rngs(KEY)
    module = registry.choose("methods", method, settings)(model).module
    with torch.no_grad():
        for parameter in train.trainable_parameters(module).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return LanguageModel(module, model.tokenizer, model.name)


def step_loss_of(model, tokens, *, budget=200, precision=torch.float32, goldfish=None):
    return StepLoss(model, tokens, Accelerator(cpu=True), precision, budget, goldfish)


def single(step_loss, texts):
    """The gradients of each text, from a backward pass of its own."""
    parameters = list(train.trainable_parameters(step_loss.model.module).values())
    found = []
    for text in texts:
        step_loss.gradients(np.array([text]))
        found.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters])
        step_loss.model.module.zero_grad(set_to_none=True)
    return [torch.stack(of_texts) for of_texts in zip(*found, strict=True)]


def test_gradients_of_a_batch_are_those_of_its_texts(tiny, architecture, sentences):
    model = made(tiny(architecture))
    layers = trained_linear_layers(model.module)
    step_loss = step_loss_of(model, tokens_of(model, [*sentences[:3], "Short.", sentences[4] + sentences[5]]))
    parts = list(BatchedTextGradients(step_loss, layers)(np.arange(5)))
    assert sorted(t for texts, _ in parts for t in texts) == list(range(5))
    assert max(len(texts) for texts, _ in parts) > 1
    assert {found is None for _, found in parts} == {architecture == EXPERTS}
    assert all("forward" not in vars(layer) and layer.weight.grad is None for layer in layers)
    for texts, found in parts if architecture != EXPERTS else []:
        expected = single(step_loss, texts)
        parameters = list(train.trainable_parameters(model.module).values())
        for parameter, own in zip(parameters, expected, strict=True):
            torch.testing.assert_close(found.by_parameter[parameter], own, rtol=1e-4, atol=1e-6)
            assert parameter.grad is None
        assert found.loss == pytest.approx(sum(step_loss.gradients(np.array([t])) for t in texts), rel=1e-5)
        model.module.zero_grad(set_to_none=True)


def test_in_bfloat16_they_agree_within_its_rounding(tiny, sentences):
    model = made(tiny("llama"))
    layers = trained_linear_layers(model.module)
    step_loss = step_loss_of(model, tokens_of(model, sentences[:4]), precision=torch.bfloat16)
    for texts, found in BatchedTextGradients(step_loss, layers)(np.arange(4)):
        for parameter, own in zip(
            train.trainable_parameters(model.module).values(), single(step_loss, texts), strict=True
        ):
            assert found.by_parameter[parameter].dtype == torch.float32
            assert float((found.by_parameter[parameter] - own).norm() / own.norm()) < 0.05


def test_a_batch_with_as_many_texts_as_positions_is_not_separated(tiny, sentences):
    model = made(tiny("llama"))
    tokens = tokens_of(model, sentences[:8], most=8)
    assert set(tokens.lengths) == {8}
    step_loss, layers = step_loss_of(model, tokens), trained_linear_layers(model.module)
    assert [(len(t), g) for t, g in BatchedTextGradients(step_loss, layers)(np.arange(8))] == [(8, None)]
    assert [g is None for _, g in BatchedTextGradients(step_loss, layers)(np.arange(7))] == [False]
    assert all("forward" not in vars(layer) for layer in layers)


def test_a_layer_that_sees_the_tokens_of_all_texts_together_is_not_separated(tiny, sentences):
    model = made(tiny("llama"))
    block = model.module.base_model.model.model.layers[1].mlp
    own = block.forward
    block.forward = lambda hidden: own(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
    step_loss = step_loss_of(model, tokens_of(model, sentences[:3]))
    parts = BatchedTextGradients(step_loss, trained_linear_layers(model.module))
    generator = torch.get_rng_state()
    ((texts, found),) = parts(np.arange(3))
    assert (sorted(texts), found) == ([0, 1, 2], None)
    assert torch.equal(torch.get_rng_state(), generator)
    block.forward = lambda _: pytest.fail("tried again")
    assert [g for _, g in parts(np.arange(3))] == [None]


def test_a_part_that_runs_out_of_memory_is_halved(tiny, sentences, monkeypatch):
    model = made(tiny("llama"))
    step_loss = step_loss_of(model, tokens_of(model, sentences[:4]), budget=10_000)
    own = StepLoss.backward_of_own_means

    def limited(self, chosen):
        if len(chosen) > 2:
            raise torch.OutOfMemoryError
        return own(self, chosen)

    monkeypatch.setattr(StepLoss, "backward_of_own_means", limited)
    parts = BatchedTextGradients(step_loss, trained_linear_layers(model.module))
    assert [(len(t), g is None) for t, g in parts(np.arange(4))] == [(4, True)]
    assert [(len(t), g is None) for t, g in parts(np.arange(4))] == [(2, False), (2, False)]


def test_texts_of_a_base_model_in_8_bits_share_no_batch(tiny):
    model = made(tiny("llama"))
    assert trained_linear_layers(model.module) is not None

    class Linear8bitLt(torch.nn.Identity):
        pass

    model.module.add_module("quantized", Linear8bitLt())
    assert trained_linear_layers(model.module) is None


def test_memory_limits_the_texts_of_a_part(tiny, sentences, monkeypatch):
    model = made(tiny("llama"))
    layers = trained_linear_layers(model.module)
    size = 4 * sum(layer.weight.numel() for layer in layers)
    monkeypatch.setattr(batched_gradients, "MAX_GRADIENT_BYTES", 2 * size + 1)
    step_loss = step_loss_of(model, tokens_of(model, sentences[:5]), budget=10_000)
    assert [len(texts) for texts, _ in BatchedTextGradients(step_loss, layers)(np.arange(5))] == [2, 2, 1]


def test_texts_without_a_token_in_the_loss_are_left_out(tiny, sentences):
    model = made(tiny("llama"))
    step_loss = step_loss_of(model, tokens_of(model, [sentences[0], "I am", sentences[1]]), goldfish=2)
    step_loss.__dict__["loss_mask"] = step_loss.loss_mask.copy()
    start, end = step_loss.tokens.scored_starts[1:3]
    step_loss.loss_mask[start:end] = False
    parts = list(BatchedTextGradients(step_loss, trained_linear_layers(model.module))(np.arange(3)))
    assert sorted(t for texts, _ in parts for t in texts) == [0, 2]


@pytest.mark.parametrize("method", ["dp_full", "prompt"])
def test_other_trained_weights_have_no_linear_layers(tiny, method):
    assert trained_linear_layers(made(tiny("llama"), method).module) is None


def trained(model, tokens):
    spent = DpSgdParameters(noise_multiplier=0.3, clip=0.05, delta=1e-3, rate=0.4, steps=3)
    epochs = train.train(
        model, tokens, training=Training(epochs=2), learning_rate=1e-2, key=KEY, precision=torch.float32, budget=200, dp_parameters=spent,
    )  # fmt: skip
    losses = [epoch.loss for epoch in epochs]
    return losses, {n: p.detach().clone() for n, p in train.trainable_parameters(model.module).items()}


def test_private_training_by_batches_equals_training_by_single_texts(tiny, sentences, monkeypatch):
    tokens = tokens_of(tiny("llama"), sentences[:12])
    losses, weights = trained(made(tiny("llama")), tokens)
    monkeypatch.setattr(dp_sgd, "trained_linear_layers", lambda _: None)
    monkeypatch.setattr(BatchedTextGradients, "_text_gradients", None)
    expected_losses, expected = trained(made(tiny("llama")), tokens)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-5)
