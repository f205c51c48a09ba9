"""Two processes that share each batch take the steps of one."""

import pytest

from testing import processes

SCRIPT = """
import sys, torch
from byheart.core import registry
from byheart.lm import train
from byheart.lm.load import LanguageModel, load
from byheart.lm.tokens import tokenize
from byheart.core.config import Training
from byheart.core.types import Texts
torch.set_num_threads(1)
folder, out = sys.argv[1:]
words = [f"The old sailor wrote {n} letters to the queen." for n in range(7)]
settings = Training(epochs=2, batch_size=3)  # the last step has one text: one process has none
found = {}
for method in ("head", "lora"):
    model = load(folder)
    train.seed_rngs("0b")
    made = registry.choose("methods", method)(model)
    model = train.with_hidden_cache(LanguageModel(made.module, model.tokenizer, "m"))
    tokens = tokenize(model.tokenizer, Texts(tuple(map(str, range(7))), tuple(words)), 64)
    losses = [e.loss for e in train.train(model, tokens, training=settings, learning_rate=1e-2, key="0b", precision=torch.float32, budget=100)]
    found[method] = {"losses": losses, **{n: p.detach() for n, p in train.trainable_parameters(model.module).items()}}
if int(__import__("os").environ.get("RANK", 0)) == 0:
    torch.save(found, out)
"""


@pytest.fixture(scope="module")
def trained(tiny_folder, tmp_path_factory):
    """The result of each method with one process and with two."""
    import torch

    folder = tmp_path_factory.mktemp("processes")
    script, environment = folder / "train.py", {"ACCELERATE_USE_CPU": "1"}
    script.write_text(SCRIPT)
    alone = processes.started(script, [tiny_folder("llama"), folder / "1.pt"], folder, **environment)
    processes.ended(alone, folder, within=240)
    processes.ranks(script, [tiny_folder("llama"), folder / "2.pt"], folder, within=240, **environment)
    return [torch.load(folder / f"{count}.pt", weights_only=True) for count in (1, 2)]


@pytest.mark.parametrize("method", ["head", "lora"])
def test_two_processes_take_the_steps_of_one(trained, method):
    one, two = (found[method] for found in trained)
    assert one["losses"] == pytest.approx(two["losses"], rel=1e-4)
    assert one.keys() == two.keys()
    for name in one:
        if name != "losses":
            assert (one[name] - two[name]).abs().max() < 1e-3, name
