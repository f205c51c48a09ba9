"""Logits of a bfloat16 model are not rounded to bfloat16: a true token that ties there is not predicted correctly."""

import numpy as np
import pytest
import torch

from byheart import lm
from byheart.lm import float32_logits, forward, generate, trunk_and_head
from byheart.lm.tokens import tokenize
from testing.reading import texts_of

BFLOAT16 = torch.bfloat16


@pytest.fixture
def large_logits(tiny):
    """Return a model whose logits are as large as a real model's, so that they often tie in bfloat16."""
    model = tiny("llama")
    with torch.no_grad():
        weight = model.module.lm_head.weight
        weight.mul_(20 / weight.std() / weight.shape[1] ** 0.5)
    return model


def ranks_of_products(model, tokens):
    """The ranks by products in double precision of the model's own hidden states and weights, both in bfloat16."""
    with forward.scoring_mode(model.module, BFLOAT16):
        hidden = forward.hidden_rows(model.module, tokens, np.arange(len(tokens)))
    logits = hidden.to(BFLOAT16).double() @ model.module.lm_head.weight.to(BFLOAT16).double().T
    true = torch.from_numpy(tokens.scored_ids)[:, None]
    return (logits > logits.gather(1, true)).sum(1).numpy()


@pytest.mark.parametrize("weights", [torch.float32, BFLOAT16])
def test_ranks_in_bfloat16_do_not_count_ties_as_correct(large_logits, weights, sentences, monkeypatch):
    model = large_logits
    model.module.to(weights)
    tokens = tokenize(model.tokenizer, texts_of(sentences), 64)
    expected = ranks_of_products(model, tokens)
    got = forward.token_stats(model, tokens, budget=10_000, precision=BFLOAT16)
    assert (got.rank == expected).mean() > 0.995
    monkeypatch.setattr(forward, "logits", lambda *a: trunk_and_head.raw_logits(*a).float())
    rounded = forward.token_stats(model, tokens, budget=10_000, precision=BFLOAT16)
    assert (rounded.rank == expected).mean() < 0.9
    assert (rounded.rank <= got.rank).mean() > 0.99  # ties can only lower a rank


@pytest.mark.parametrize("weights", [torch.float32, BFLOAT16])
@pytest.mark.parametrize("has_bias", [False, True])
def test_products_are_summed_in_float32(weights, has_bias, monkeypatch):
    monkeypatch.setattr(float32_logits, "ROWS_PER_CAST", 100)
    torch.manual_seed(0)
    rows = torch.randn(2, 5, 64, dtype=BFLOAT16)
    weight, bias = torch.randn(300, 64, dtype=BFLOAT16), torch.randn(300) if has_bias else None
    expected = rows.double() @ weight.double().T + (0 if bias is None else bias.double())
    with torch.autocast("cpu", BFLOAT16):
        got = float32_logits.float32_linear(rows, weight.to(weights), bias)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-5)


def test_torch_settings_are_restored():
    before = torch.get_float32_matmul_precision()
    float32_logits.float32_linear(torch.randn(3, 4), torch.randn(5, 4))
    assert torch.get_float32_matmul_precision() == before
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"


def test_a_float32_model_is_called_without_changes(tiny, sentences, monkeypatch):
    model = tiny("gpt2")
    monkeypatch.setattr(float32_logits, "float32_linear", None)
    forward.token_stats(model, tokenize(model.tokenizer, texts_of(sentences[:2]), 64))


def test_tokens_are_generated_from_unrounded_logits(large_logits, sentences, monkeypatch):
    model, seen = large_logits, []
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])

    def choose(logits, _):
        seen.append(logits)
        return logits.argmax(1)

    ids = tokenize(model.tokenizer, texts_of(sentences[:2]), 64).ids[:4]
    requests = [generate.GenerationRequest(ids, 3)]
    generate.generate(model, requests, lambda _: choose, 100, BFLOAT16)
    assert len(seen) == 3
    for logits in seen:
        assert (logits != logits.to(BFLOAT16).float()).float().mean() > 0.9


def test_only_evidence_in_bfloat16_has_another_revision():
    assert lm.forward_revision("float32") == lm.FORWARD_REVISION == 0
    assert lm.forward_revision("bfloat16") != lm.FORWARD_REVISION
