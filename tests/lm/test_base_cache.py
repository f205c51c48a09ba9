"""The cached base model of a process: changes by one cell do not reach the next one."""

import copy
from dataclasses import replace

import pytest
import torch

from byheart.core.config import Training
from byheart.core.registry import choose, entry_names
from byheart.core.types import Texts
from byheart.lm import base_cache, load, train
from byheart.lm.forward import token_stats
from byheart.lm.tokens import tokenize
from testing.made_up import ARCHITECTURES

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_kept():
    base_cache.release()
    yield
    base_cache.release()


def tokens_of(model, sentences):
    return tokenize(model.tokenizer, Texts(tuple(map(str, range(len(sentences)))), tuple(sentences)), 32)


def trained(model, tokens, method):
    """The model after an epoch of a method, as a cell trains it."""
    train.seed_rngs("0b")
    made = choose("methods", method)(model)
    base_cache.copy_shared_trainable_weights(made.module)
    complete = train.with_hidden_cache(replace(model, module=made.module))
    settings = Training(epochs=1, batch_size=4)
    for _ in train.train(
        complete, tokens, training=settings, learning_rate=1e-2, key="0b", precision=torch.bfloat16, budget=200
    ):
        pass
    return complete


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_cell_gets_the_base_as_loaded(tiny_folder, name, sentences, monkeypatch):
    """Every method on one architecture; on the others a method that changes the base's weights and one that adds weights."""
    folder = str(tiny_folder(name))
    fresh = load.load(folder)
    tokens = tokens_of(fresh, sentences)
    first = {n: p.clone() for n, p in fresh.module.state_dict().items()}
    loads = []
    monkeypatch.setattr(load, "load", lambda base, load=load.load: loads.append(base) or load(base))
    for method in entry_names("methods") if name == "llama" else ("full", "lora"):
        model = base_cache.borrow(folder, CPU)
        state = model.module.state_dict()
        assert state.keys() == first.keys()
        assert all(torch.equal(state[n], first[n]) for n in first), method
        alone = copy.deepcopy(fresh.module)
        expected = token_stats(trained(replace(fresh, module=alone), tokens, method), tokens)
        assert (token_stats(trained(model, tokens, method), tokens).logp == expected.logp).all(), method
    assert loads == [folder]


def test_tied_weights_stay_tied_in_borrowed_models(tiny_folder):
    module = base_cache.borrow(str(tiny_folder("gpt2")), CPU).module
    assert module.get_output_embeddings().weight is module.get_input_embeddings().weight


def test_another_or_a_released_base_is_loaded(tiny_folder, monkeypatch):
    loads = []
    monkeypatch.setattr(load, "load", lambda base, load=load.load: loads.append(base) or load(base))
    one, other = str(tiny_folder("gpt2")), str(tiny_folder("llama"))
    for base in (one, other, other, one):
        base_cache.borrow(base, CPU)
    base_cache.release()
    base_cache.borrow(one, CPU)
    assert loads == [one, other, one, one]


def test_a_base_changed_in_place_is_loaded_again(tiny_folder):
    folder = str(tiny_folder("llama"))
    complete = load.load(folder).module.state_dict()
    with torch.no_grad():
        next(base_cache.borrow(folder, CPU).module.parameters())[0, 0] += 1
    again = base_cache.borrow(folder, CPU).module.state_dict()
    assert all(torch.equal(again[n], complete[n]) for n in complete)
