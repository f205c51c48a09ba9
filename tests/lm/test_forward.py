"""The one-pass scorer against a plain loop: one text at a time, log-softmax over the model's logits."""

import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

import byheart
from byheart.lm import batching, bfloat16, forward, trunk_and_head
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from testing.reading import texts_of
from testing.wrapped import tuned

METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")


def plain_loop(model, prompt, scored):
    """Per scored token: log p, mean and standard deviation of log p, entropy, rank; nothing shared with the scorer."""
    tokenizer = model.tokenizer
    bos = bos_ids(tokenizer)
    before = bos + (tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else [])
    ids = before + tokenizer(scored, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model.module(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
        ).logits[0]
    logits = logits[logits.shape[0] - len(ids) :]  # virtual tokens come first
    found = []
    for at in range(max(len(before), 1), len(ids)):
        logp = torch.log_softmax(logits[at - 1].double(), 0)
        p = logp.exp()
        mean = float((p * logp).sum())
        std = float((p * (logp - mean) ** 2).sum().sqrt())
        found.append((float(logp[ids[at]]), mean, std, -mean, int((logp > logp[ids[at]]).sum())))
    return np.array(found)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_every_statistic_equals_the_plain_loop(tiny, architecture, method, sentences, monkeypatch):
    model = tiny(architecture)
    monkeypatch.setattr(
        batching, "LOGITS_PER_BLOCK", 7 * model.vocabulary_size
    )  # several blocks of rows, and parts of them
    monkeypatch.setattr(batching, "LOGITS_PER_CPU_REDUCTION", 2 * model.vocabulary_size)
    model = tuned(model, method) if method else model
    chosen = [*sentences[:5], "Hi there."]
    stats = forward.token_stats(model, tokenize(model.tokenizer, texts_of(chosen), 64), budget=100)
    expected = np.concatenate([plain_loop(model, "", s) for s in chosen])
    for column, name in enumerate(("logp", "mean", "std", "entropy")):
        np.testing.assert_allclose(getattr(stats, name), expected[:, column], atol=2e-5, err_msg=name)
    assert (stats.rank == expected[:, 4]).mean() > 0.99  # equal up to ties in float32


def test_a_model_in_double_precision_equals_the_plain_loop(tiny, sentences):
    model = tiny("llama")
    model.module.double()
    stats = forward.token_stats(model, tokenize(model.tokenizer, texts_of(sentences[:3]), 64))
    expected = np.concatenate([plain_loop(model, "", s) for s in sentences[:3]])
    np.testing.assert_allclose(stats.logp, expected[:, 0], atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_tokens_are_scored_for_every_method(tiny, architecture, method, sentences):
    model = tiny(architecture)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:4]), 64)
    bare = forward.token_stats(model, tokens)
    assert (forward.token_stats(tuned(model, method), tokens).starts == bare.starts).all()


def test_a_prompt_is_read_and_not_scored(tiny, architecture, sentences):
    model = tiny(architecture)
    tokens = tokenize(model.tokenizer, texts_of([" wrote a letter.", " was tall."], ["The queen", "Nobody here"]), 64)
    stats = forward.token_stats(model, tokens)
    expected = [plain_loop(model, p, s) for p, s in zip(tokens.texts.prompts, tokens.texts.scored, strict=True)]
    np.testing.assert_allclose(stats.logp, np.concatenate(expected)[:, 0], atol=2e-5)
    assert len(stats.logp) == sum(
        len(model.tokenizer(s, add_special_tokens=False)["input_ids"]) for s in tokens.texts.scored
    )


def test_bos_is_added_once_and_never_scored(tiny, sentences):
    model = tiny("gemma")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:2]), 64)
    plain = len(model.tokenizer(sentences[0], add_special_tokens=False)["input_ids"])
    assert (tokens.ids == 1).sum() == 2
    assert tokens.first.tolist() == [1, 1]
    assert np.diff(tokens.scored_starts)[0] == plain  # with BOS, the first real token is scored
    model = tiny("llama")
    assert np.diff(tokenize(model.tokenizer, texts_of(sentences[:2]), 64).scored_starts)[0] == plain - 1


@pytest.mark.parametrize("method", [None, "lora", "prefix", "prompt", "head"])
def test_scores_do_not_depend_on_batch_order_or_padding(tiny, architecture, method, sentences):
    model = tiny(architecture)
    model = tuned(model, method) if method else model
    chosen = [s * (1 + i % 3) for i, s in enumerate(sentences[:9])]
    alone = [forward.token_stats(model, tokenize(model.tokenizer, texts_of([s]), 128)).logp for s in chosen]
    order = np.random.default_rng(0).permutation(len(chosen))
    for budget in (1, 90, 10_000):
        shuffled = forward.token_stats(
            model, tokenize(model.tokenizer, texts_of([chosen[i] for i in order]), 128), budget=budget
        )
        for place, i in enumerate(order):
            got = shuffled.logp[shuffled.starts[place] : shuffled.starts[place + 1]]
            np.testing.assert_allclose(got, alone[i], atol=1e-5)


def test_logits_are_changed_as_the_model_changes_them(tiny_folder):
    """Gemma 2 caps its logits after the head; calling only the head would miss this."""
    from transformers import AutoModelForCausalLM, Gemma2Config

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        final_logit_softcapping=0.5,
    )
    module = AutoModelForCausalLM.from_config(config).eval()
    hidden = torch.randn(3, 32)
    assert trunk_and_head.logits(module, hidden).abs().max() <= 0.5
    assert module.lm_head(hidden).abs().max() > 0
    np.testing.assert_allclose(
        trunk_and_head.logits(module, hidden).detach(),
        (0.5 * torch.tanh(module.lm_head(hidden) / 0.5)).detach(),
        atol=1e-6,
    )


def test_out_of_memory_halves_the_budget(tiny, sentences, monkeypatch):
    model = tiny("llama")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:8]), 64)
    expected = forward.token_stats(model, tokens)
    real, seen = forward.hidden_rows, []

    def scarce(module, tokens, chosen):
        seen.append(len(chosen))
        if len(chosen) > 2:
            raise torch.OutOfMemoryError
        return real(module, tokens, chosen)

    monkeypatch.setattr(forward, "hidden_rows", scarce)
    got = forward.token_stats(model, tokens, budget=10_000)
    assert max(seen) == 8
    assert seen[-1] <= 2
    np.testing.assert_allclose(got.logp, expected.logp, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_forward_pass_does_not_copy_the_heads_weights(tiny, sentences, precision, monkeypatch):
    """As torch does for a batch of rows, each of which it multiplies by a matrix of its own."""
    monkeypatch.setattr(bfloat16, "_capabilities", dict)  # a processor without bfloat16 casts all weights
    model = tiny("llama")
    model.module.requires_grad_(False)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:4]), 64)
    weight = model.module.lm_head.weight
    complete = model.module.to(precision)  # no cast is requested
    with forward.scoring_mode(complete, precision), torch.profiler.profile(record_shapes=True) as seen:
        forward.hidden_rows(complete, tokens, np.arange(4))
    copied = [e.input_shapes[0] for e in seen.events() if e.name == "aten::copy_" and e.input_shapes]
    assert copied
    assert not any(sorted(shape[-2:]) == sorted(weight.shape) for shape in copied)


@pytest.mark.parametrize("method", ["lora", "prefix", "p_tuning"])
def test_adapters_do_not_cast_their_inputs_in_bfloat16_and_numbers_stay(tiny, sentences, method, monkeypatch):
    model = tuned(tiny("llama"), method)
    tokens, casts = tokenize(model.tokenizer, texts_of(sentences[:6]), 64), []
    plain = BaseTunerLayer._cast_input_dtype

    def watched(layer, x, dtype):
        cast = plain(layer, x, dtype)
        casts.append(cast is not x)
        return cast

    monkeypatch.setattr(BaseTunerLayer, "_cast_input_dtype", watched)
    scored = forward.token_stats(model, tokens, precision=torch.bfloat16)
    assert bool(casts) == (method == "lora")
    assert not any(casts)
    monkeypatch.setattr(forward, "disable_input_dtype_casting", lambda *_: nullcontext())
    again = forward.token_stats(model, tokens, precision=torch.bfloat16)
    assert any(casts) == (method == "lora")
    for name in ("logp", "mean", "std", "entropy", "rank"):
        assert np.array_equal(getattr(scored, name), getattr(again, name)), name


def test_scoring_does_not_change_the_model(tiny, sentences):
    model = tiny("llama")
    model.module.train()
    model.module.model.layers[0].eval()
    before = {n: p.clone() for n, p in model.module.named_parameters()}
    forward.token_stats(model, tokenize(model.tokenizer, texts_of(sentences[:3]), 64))
    assert model.module.training
    assert not model.module.model.layers[0].training
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in model.module.named_parameters())
    assert "forward" not in vars(trunk_and_head.trunk(model.module))


def test_truncation_is_counted_and_keeps_the_end_of_the_prompt(tiny, sentences):
    tokenizer = tiny("llama").tokenizer
    long = sentences[0] * 3
    tokens = tokenize(tokenizer, texts_of([long, "Short one."], ["A prompt that goes on and on", ""]), 20)
    assert (tokens.cut > 0).tolist() == [True, False]
    assert tokens.lengths.max() == 20
    assert long.startswith(tokens.texts.scored[0])
    assert tokens.texts.scored[1] == "Short one."
    prompt_ids = tokenizer("A prompt that goes on and on", add_special_tokens=False)["input_ids"]
    assert tokens.ids[0] == prompt_ids[-1]


def test_a_text_without_a_scored_token_raises_an_error(tiny):
    with pytest.raises(byheart.core.errors.DataError, match="'t1': no token to score"):
        tokenize(tiny("llama").tokenizer, texts_of(["Two words", "a"]), 64)


def test_token_stats_in_python(tiny, sentences):
    model = tiny("gpt2")
    stats = byheart.token_stats(model.module, model.tokenizer, sentences[:3])
    assert len(stats) == 3
    assert [f.name for f in dataclasses.fields(stats)] == ["logp", "starts", "mean", "std", "entropy", "rank"]
    np.testing.assert_allclose(stats.logp[: stats.starts[1]], plain_loop(model, "", sentences[0])[:, 0], atol=2e-5)
