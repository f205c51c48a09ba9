"""bfloat16 on processors without instructions for it: the same rounded numbers, in the time of float32."""

import time

import numpy as np
import pytest
import torch

from byheart.core.config import Training
from byheart.lm import bfloat16, forward, load, train
from byheart.lm.bfloat16 import Float32Products, fast_products, multiplies_bfloat16
from byheart.lm.tokens import tokenize
from byheart.methods.full import full
from testing.made_up import SENTENCES
from testing.reading import texts_of

CPU = torch.device("cpu")
AVX2 = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.fixture
def capabilities(monkeypatch):
    """Set what torch says about the processor."""

    def put(**found):
        monkeypatch.setattr(bfloat16, "_capabilities", lambda: found)

    return put


@pytest.mark.parametrize(
    ("found", "is_native", "is_replaced"),
    [
        (AVX2, False, True),
        ({**AVX2, "avx512_bw": True}, False, False),
        ({**AVX2, "avx512_bw": True, "avx512_bf16": True}, True, False),
        ({**AVX2, "amx_bf16": True}, True, False),
        ({"architecture": "aarch64", "neon": True, "bf16": False}, False, True),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, True, False),
        ({}, False, False),
    ],
)
def test_products_are_replaced_where_torch_has_no_fast_ones(capabilities, found, is_native, is_replaced):
    capabilities(**found)
    assert multiplies_bfloat16(CPU) == is_native
    assert isinstance(fast_products(CPU, torch.bfloat16), Float32Products) == is_replaced
    assert not isinstance(fast_products(CPU, torch.float32), Float32Products)
    assert train.training_dtype("auto", CPU) == (torch.bfloat16 if is_native else torch.float32)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_replaced_product_is_the_float32_one_rounded_once(kind):
    generator = torch.Generator().manual_seed(0)
    a, b, bias = (torch.randn(s, generator=generator).bfloat16() for s in ((40, 300), (300, 50), (50,)))
    exact = a.double() @ b.double() + (bias.double() if kind == "gpt2" else 0)
    with Float32Products():
        found = torch.addmm(bias, a, b) if kind == "gpt2" else a @ b
    assert found.dtype == torch.bfloat16
    error = (found.double() - exact).abs() / exact.abs().clamp(min=1)
    assert error.max() < 2**-8


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_scores_are_those_of_bfloat16(tiny_folder, capabilities, kind):
    model = load.load(str(tiny_folder(kind)))
    tokens = tokenize(model.tokenizer, texts_of(SENTENCES[:6]), max_tokens=40)

    def logp(precision):
        return forward.token_stats(model, tokens, budget=256, precision=precision).logp

    capabilities(**AVX2, avx512_bw=True)
    own, full_precision = logp(torch.bfloat16), logp(torch.float32)
    capabilities(**AVX2)
    replaced = logp(torch.bfloat16)
    assert (replaced != full_precision).any()  # rounded
    assert np.abs(replaced - own).max() < 4 * max(np.abs(own - full_precision).max(), 1e-3)


def test_training_uses_them_forward_and_backward(tiny_folder, capabilities, monkeypatch):
    capabilities(**AVX2)
    shapes = []
    own = Float32Products.__torch_dispatch__

    def counted(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default and args[0].dtype == torch.bfloat16:
            shapes.append(args[0].shape)
        return own(self, func, types, args, kwargs)

    monkeypatch.setattr(Float32Products, "__torch_dispatch__", counted)
    model = load.load(str(tiny_folder("llama")))
    tuned = full(model)
    tokens = tokenize(model.tokenizer, texts_of(SENTENCES[:4]), max_tokens=40)
    epochs = train.train(
        load.LanguageModel(tuned.module, model.tokenizer, model.name),
        tokens,
        training=Training(epochs=1, batch_size=4),
        learning_rate=1e-3,
        key="0a",
        precision=torch.bfloat16,
        budget=4096,
    )
    (epoch,) = epochs
    assert np.isfinite(epoch.loss)
    forward_products = 2 * 7  # two layers of seven matrices
    assert len(shapes) >= 3 * forward_products  # and two products of each in the backward pass


@pytest.mark.skipif(
    not isinstance(fast_products(CPU, torch.bfloat16), Float32Products), reason="this processor has fast products"
)
def test_they_are_faster_than_torch_s_own_here():
    a, b = torch.ones(512, 512).bfloat16(), torch.ones(512, 512).bfloat16()

    def seconds():
        start = time.process_time()
        for _ in range(3):
            a @ b
        return time.process_time() - start

    slow = seconds()
    with fast_products(CPU, torch.bfloat16):
        assert seconds() < slow / 3
