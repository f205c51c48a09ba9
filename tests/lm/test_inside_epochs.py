"""Observation inside an epoch does not change training: the same steps, batches, dropout and noise, also after a resumption."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from byheart.core import registry
from byheart.core.config import Training
from byheart.lm import forward, train
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import tokenize
from byheart.stats.dp_accounting import DpSgdParameters
from testing.pairs import some_pairs
from testing.reading import texts_of

KEY = "00000000000000ab"
SETTINGS = Training(epochs=2, batch_size=3)
INSIDE = {1: 0.25, 3: 0.75, 6: 1.5}
"""Of 12 texts in batches of 3: four steps an epoch."""
METHODS = {
    "full": {},
    "head": {},
    "lora": {"dropout": 0.2},
    "prompt": {},
    "dp_lora": {"rank": 2},
}
DP = DpSgdParameters(noise_multiplier=0.5, clip=0.05, delta=1e-3, rate=0.25, steps=4)


class Trained:
    """GPT-2, which has dropout, with a method; every observation draws random numbers and scores the texts."""

    def __init__(self, tiny, sentences, method):
        base = tiny("gpt2")
        train.seed_rngs(KEY)
        tuned = registry.choose("methods", method, METHODS[method])(base)
        self.model = train.with_hidden_cache(LanguageModel(tuned.module, base.tokenizer, base.name))
        self.tokens = tokenize(base.tokenizer, texts_of(sentences[:12]), 64)
        self.private = DP if method.startswith("dp") else None

    def run(self, inside, start=None, *, precision=torch.float32):
        observed = {}
        for epoch in train.train(
            self.model, self.tokens, training=SETTINGS, learning_rate=1e-2, key=KEY, precision=precision, budget=200,
            inside_epochs=inside, resume_from=start, dp_parameters=self.private,
        ):  # fmt: skip
            assert not self.model.module.training
            observed[epoch.number] = (epoch.loss, deepcopy(epoch.state()))
            torch.rand(7)
            forward.token_stats(self.model, self.tokens)
        return observed

    def weights(self):
        return {n: p.detach().clone() for n, p in train.trainable_parameters(self.model.module).items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_bit_equal_with_and_without_observations_inside_epochs(tiny, sentences, method):
    plain, watched = (Trained(tiny, sentences, method) for _ in range(2))
    complete, observed = plain.run({}), watched.run(INSIDE)
    assert list(complete) == [1, 2]
    assert list(observed) == [0.25, 0.75, 1, 1.5, 2]
    assert [type(e) for e in complete] == [int, int]
    assert same(plain.weights(), watched.weights())
    assert [complete[e][0] for e in complete] == [observed[e][0] for e in complete]
    steps = [s["step/" + next(iter(plain.weights()))].item() for _, s in observed.values()]
    assert steps == [1, 3, 4, 6, 8]


@pytest.mark.parametrize(("method", "epoch"), some_pairs(list(METHODS), [0.25, 0.75, 1, 1.5]))
def test_training_resumed_inside_an_epoch_takes_the_same_steps(tiny, sentences, method, epoch):
    complete, resumed = (Trained(tiny, sentences, method) for _ in range(2))
    observed = complete.run(INSIDE)
    again = resumed.run(INSIDE, (epoch, observed[epoch][1]))
    assert list(again) == [e for e in observed if e >= epoch]
    assert same(complete.weights(), resumed.weights())
    assert same(*({n: v for n, v in run[epoch][1].items() if n.startswith("weight/")} for run in (observed, again)))
    assert [again[e][0] for e in again if e > epoch] == [observed[e][0] for e in again if e > epoch]


def test_training_returns_to_lower_precision_after_an_observation(tiny, sentences):
    plain, watched = (Trained(tiny, sentences, "lora") for _ in range(2))
    plain.run({}, precision=torch.bfloat16)
    watched.run(INSIDE, precision=torch.bfloat16)
    assert same(plain.weights(), watched.weights())


def test_every_method_declares_whether_it_starts_at_the_base_model(tiny, sentences):
    """The declaration is measured: outputs before the first step, against the base model's."""
    for name in registry.entry_names("methods"):
        base = tiny("llama")
        tokens = tokenize(base.tokenizer, texts_of(sentences[:4]), 64)
        before = forward.token_stats(base, tokens).logp
        train.seed_rngs(KEY)
        choice = registry.choose("methods", name)
        module = choice(base).module.eval()
        after = forward.token_stats(LanguageModel(module, base.tokenizer, base.name), tokens).logp
        starts_at_base = registry.module_constant(choice.function, "STARTS_AT_BASE", default=True)
        assert starts_at_base == np.allclose(before, after, atol=1e-5), name
