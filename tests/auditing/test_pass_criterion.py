"""A bound passes on the untuned base and on a model that was trained privately, and not on a LoRA that leaks."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.pass_bounds import PassBound, required_texts
from byheart.core import registry
from byheart.core.config import Privacy, Training
from byheart.core.types import Texts
from byheart.lm import train
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import tokenize
from byheart.stats.dp_accounting import dp_sgd_parameters

BOUND = PassBound("auc", 0.7)
ATTACKS = ["loss", "min_k"]
SIZE = required_texts(BOUND, fpr=0.1, attacks=len(ATTACKS))
"""Texts per class with which a model at chance passes with a probability of 80 %, as `byheart check` says."""
WORDS = [f"{a}{b}{c}" for a in "bdfglmnprst" for b in "aeiou" for c in "bdlmnrt"]
DRAWN = np.random.default_rng(2).choice(WORDS, size=(2 * SIZE, 4))
TEXTS = [" ".join(words) for words in DRAWN]
MEMBERS, NONMEMBERS = TEXTS[:SIZE], TEXTS[SIZE:]
KEY = "00000000000000cd"


@pytest.fixture(scope="module")
def judged(tiny_folder):
    """A function from a method and its settings (None: no training) to the audit's bound."""
    base = str(tiny_folder("llama"))

    def run(method=None, privacy=None, epochs=1, **settings):
        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = LanguageModel(AutoModelForCausalLM.from_pretrained(base), tokenizer, base)
        if method is not None:
            train.seed_rngs(KEY)
            model = LanguageModel(registry.choose("methods", method, settings)(model).module, tokenizer, base)
            training = Training(epochs=epochs, batch_size=SIZE // 2)
            spent = None if privacy is None else dp_sgd_parameters(privacy, SIZE, training)
            tokens = tokenize(tokenizer, Texts(tuple(map(str, range(SIZE))), tuple(MEMBERS)), 64)
            how = {"key": KEY, "precision": torch.float32, "budget": 4096, "dp_parameters": spent}
            for _ in train.train(model, tokens, training=training, learning_rate=3e-2, **how):
                pass
        return byheart.audit(
            model.module,
            tokenizer,
            MEMBERS,
            NONMEMBERS,
            attacks=ATTACKS,
            fpr=0.1,
            pass_below={BOUND.metric: BOUND.maximum},
        )

    return run


def test_the_untuned_base_passes_at_the_size_that_the_plan_says(judged):
    (bound,) = (audit := judged()).bounds
    assert audit.is_passed, bound.reason
    assert bound.power >= 0.8


def test_a_private_lora_passes(judged):
    private = Privacy(epsilon=None, noise_multiplier=4.0, delta=1e-3, clip=0.1)
    audit = judged("dp_lora", private, epochs=4)
    assert audit.is_passed, audit.bounds[0].reason


@pytest.mark.slow
def test_a_lora_that_leaks_does_not_pass(judged):
    audit = judged("lora", epochs=40)
    assert not audit.is_passed
    assert "the upper 95 % end of" in audit.bounds[0].reason
    assert audit.ruling.word == "leaks"
