"""A process keeps freed memory if the C library allows it."""

import platform
import subprocess
import sys

import pytest
import torch

from byheart.core import registry
from byheart.core.config import Training
from byheart.core.types import Texts
from byheart.lm import allocator, batching, train
from byheart.lm.forward import token_stats
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import tokenize

SCRIPT = """
import resource, sys
from byheart.lm import allocator
from byheart.lm.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
import numpy as np
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(20_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def faults(word, script=SCRIPT):
    made = subprocess.run([sys.executable, "-c", script, word], check=True, capture_output=True, text=True)
    return int(made.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="requires glibc")
def test_a_large_array_is_paged_in_once():
    assert faults("kept") < faults("returned") / 5


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="requires glibc")
def test_a_large_array_is_paged_in_again_where_freed_memory_is_no_longer_kept():
    script = SCRIPT.replace("import numpy", "allocator._return_freed_memory()\nimport numpy")
    assert faults("kept") < faults("kept", script) / 5


@pytest.fixture
def released(monkeypatch):
    """The releases so far; the process takes 100 bytes, and less after the first release."""
    calls = []
    monkeypatch.setattr(allocator._AfterRelease, "resident", 0)
    monkeypatch.setattr(allocator, "LEAST_RESIDENT_BYTES", 90)
    monkeypatch.setattr(allocator, "resident_bytes", lambda: 80 if calls else 100)
    monkeypatch.setattr(allocator, "release_free_memory", lambda: calls.append("released"))
    return calls


@pytest.mark.parametrize(("available", "expected"), [(101, 0), (99, 1), (None, 0)])
def test_free_memory_is_released_if_less_is_available_than_this_process_takes(
    monkeypatch, released, available, expected
):
    monkeypatch.setattr(allocator, "available_ram", lambda: available)
    allocator.release_scarce_memory()
    assert len(released) == expected


def test_memory_in_use_is_not_released_again_until_more_is_taken(monkeypatch, released):
    monkeypatch.setattr(allocator, "available_ram", lambda: 10)
    for _ in range(3):
        allocator.release_scarce_memory()
    assert len(released) == 1
    monkeypatch.setattr(allocator, "resident_bytes", lambda: 101)
    allocator.release_scarce_memory()
    assert len(released) == 2


def test_a_process_that_shrank_is_released_when_it_grows_again(monkeypatch, released):
    monkeypatch.setattr(allocator, "available_ram", lambda: 10)
    for resident, expected in ((400, 1), (92, 1), (114, 1), (116, 2), (89, 2)):
        monkeypatch.setattr(allocator, "resident_bytes", lambda resident=resident: resident)
        allocator.release_scarce_memory()
        assert len(released) == expected, resident


@pytest.mark.parametrize(("available", "expected"), [(39, True), (41, False)])
def test_freed_memory_is_not_kept_where_little_is_left_after_a_release(monkeypatch, released, available, expected):
    stopped = []
    monkeypatch.setattr(allocator, "available_ram", lambda: available)
    monkeypatch.setattr(allocator, "_return_freed_memory", lambda: stopped.append(1))
    allocator.release_scarce_memory()
    assert bool(stopped) == expected


def test_every_step_and_every_batch_can_release_memory(tiny, sentences, monkeypatch):
    calls = []
    for module in (train, batching):
        monkeypatch.setattr(module, "release_scarce_memory", lambda: calls.append(1))
    model = tiny("llama")
    tokens = tokenize(model.tokenizer, Texts(("0", "1", "2"), tuple(sentences[:3])), 16)
    token_stats(model, tokens, budget=16)
    assert len(calls) == 3
    made = registry.choose("methods", "full", {})(model)
    training = Training(epochs=1, batch_size=1)
    settings = {"learning_rate": 1e-4, "key": "ab", "precision": torch.float32, "budget": 16}
    list(train.train(LanguageModel(made.module, model.tokenizer, model.name), tokens, training=training, **settings))
    assert len(calls) == 3 + 1 + 3
