"""The DPO loss against autograd through the model's logits, against TRL, and in training."""

import dataclasses

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from byheart.core import registry
from byheart.core.config import TokenFormat, Training
from byheart.core.types import Texts
from byheart.lm import batching, train
from byheart.lm.load import LanguageModel
from byheart.lm.preference_loss import PreferenceLoss, preference_pairs
from byheart.lm.tokens import tokenize
from testing.preferences import pairs

KEY = "00000000000000ab"


def texts(count):
    made = pairs(count)
    columns = [tuple(pair[n] for pair in made) for n in ("chosen", "prompt", "rejected")]
    return Texts(tuple(map(str, range(count))), columns[0], columns[1], rejected=columns[2])


def both(model, count, **settings):
    """The tokens of the chosen and of the rejected responses."""
    found = texts(count)
    return [tokenize(model.tokenizer, t, 64, **settings) for t in (found, found.rejected_texts)]


def reference_of(model, chosen, rejected, beta=3.0):
    return preference_pairs(model, chosen, rejected, beta=beta, budget=200, precision=torch.float32)


def shaken(module):
    """The module with other weights, so that it differs from its reference."""
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape, generator=chance))
    return module


def log_prob(module, tokens, i):
    ids = torch.from_numpy(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
    first = int(tokens.first[i])
    logits = module(input_ids=ids[None]).logits[0, -len(ids) :]
    return -torch.nn.functional.cross_entropy(logits[first - 1 : -1], ids[first:], reduction="sum")


@pytest.mark.parametrize(
    ("name", "method"), [("llama", "full"), ("gpt2", "lora"), ("llama", "head"), ("gemma", "prompt")]
)
def test_loss_and_gradients_equal_those_of_autograd(tiny, name, method, monkeypatch):
    base, model = tiny(name), tiny(name)
    monkeypatch.setattr(batching, "LOGITS_PER_BLOCK", 7 * base.vocabulary_size)
    chosen, rejected = both(base, 5)
    reference = reference_of(base, chosen, rejected)
    tuned = registry.choose("methods", method)(model)
    model = train.with_hidden_cache(LanguageModel(shaken(tuned.module), base.tokenizer, "tiny"))
    assert (model.hidden is not None) == (method == "head")
    for part in model.module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    step = PreferenceLoss(model, chosen, Accelerator(cpu=True), torch.float32, 100, reference)
    loss = step.gradients(np.array([0, 2, 3, 4]))
    found = {n: p.grad for n, p in train.trainable_parameters(model.module).items()}
    model.module.zero_grad()
    expected = torch.zeros(())
    for i in (0, 2, 3, 4):
        with torch.no_grad():
            reference_margin = log_prob(base.module, chosen, i) - log_prob(base.module, rejected, i)
        margin = log_prob(model.module, chosen, i) - log_prob(model.module, rejected, i) - reference_margin
        expected = expected - torch.log(1 / (1 + torch.exp(-3.0 * margin))) / 4
    expected.backward()
    expected = expected.detach()
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert abs(loss - np.log(2)) > 1e-3
    for weight, parameter in train.trainable_parameters(model.module).items():
        np.testing.assert_allclose(found[weight], parameter.grad, atol=2e-5, rtol=1e-3, err_msg=weight)


def test_loss_equals_that_of_trl(tiny, tmp_path):
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    base, model = tiny("llama"), tiny("llama")
    chosen, rejected = both(base, 4, token_format=TokenFormat(end_token=True))
    reference = reference_of(base, chosen, rejected)
    ours = LanguageModel(shaken(model.module), base.tokenizer, "tiny")
    base.tokenizer.pad_token = base.tokenizer.eos_token
    how = {
        "output_dir": str(tmp_path),
        "use_cpu": True,
        "report_to": [],
        "bf16": False,
        "beta": 3.0,
        "max_length": None,
    }
    trainer = trl.DPOTrainer(
        model=ours.module,
        ref_model=base.module,
        args=trl.DPOConfig(**how, disable_dropout=True, gradient_checkpointing=False),
        train_dataset=Dataset.from_list(pairs(4)),
        processing_class=base.tokenizer,
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    expected = trainer.compute_loss(trainer.model, batch).detach()
    loss = PreferenceLoss(ours, chosen, Accelerator(cpu=True), torch.float32, 200, reference).gradients(np.arange(4))
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert abs(loss - np.log(2)) > 1e-3


def test_the_loss_does_not_depend_on_the_token_budget(tiny):
    model = tiny("llama")
    chosen, rejected = both(model, 6)
    reference = dataclasses.replace(reference_of(model, chosen, rejected), reference_margins=np.linspace(-5, 5, 6))
    losses = [
        PreferenceLoss(model, chosen, Accelerator(cpu=True), torch.float32, budget, reference).gradients(np.arange(6))
        for budget in (1, 10_000)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_training_starts_at_the_reference_and_raises_the_margins(tiny):
    model = tiny("llama")
    chosen, rejected = both(model, 8)
    reference = reference_of(model, chosen, rejected)
    training = Training(epochs=4, batch_size=8, schedule="constant", warmup=0, objective="dpo")
    how = {"training": training, "learning_rate": 3e-3, "key": KEY, "precision": torch.float32, "budget": 200}
    losses = [epoch.loss for epoch in train.train(model, chosen, pairs=reference, **how)]
    assert losses[0] == pytest.approx(np.log(2), rel=1e-4)
    assert losses == sorted(losses, reverse=True)
    assert (reference_of(model, chosen, rejected).reference_margins > reference.reference_margins).all()
