"""Training against a plain loop for every method: trained weights, unchanged weights, resumption."""

import dataclasses
import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from byheart.core import registry
from byheart.core.config import Training
from byheart.core.errors import TrainingError
from byheart.lm import batching, forward, loss, train, trunk_and_head
from byheart.lm.bfloat16 import has_slow_products
from byheart.lm.load import LanguageModel
from byheart.lm.loss import StepLoss
from byheart.lm.tokens import tokenize
from testing.reading import texts_of

METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")
KEY = "00000000000000ab"


def made(model, method, **settings):
    train.seed_rngs(KEY)
    tuned = registry.choose("methods", method, settings)(model)
    return train.with_hidden_cache(LanguageModel(tuned.module, model.tokenizer, model.name))


def run(model, tokens, training, *, start=None, budget=200, rate=1e-2, key=KEY, precision=torch.float32):
    return train.train(
        model,
        tokens,
        training=training,
        learning_rate=rate,
        key=key,
        precision=precision,
        budget=budget,
        resume_from=start,
    )


@pytest.mark.parametrize("method", METHODS)
def test_training_lowers_the_loss_and_changes_only_trained_parameters(tiny, architecture, method, sentences):
    model = made(tiny(architecture), method)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:12]), 64)
    trained = set(train.trainable_parameters(model.module))
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    loss_before = -forward.token_stats(model, tokens).logp.mean()
    for _ in run(model, tokens, Training(epochs=4, batch_size=4, schedule="constant")):
        assert not model.module.training
    loss_after = -forward.token_stats(model, tokens).logp.mean()
    assert loss_after < loss_before - 0.02
    changed = {n for n, p in model.module.named_parameters() if not torch.equal(p, before[n])}
    assert changed <= trained
    assert len(changed) > 0.5 * len(trained)


def test_loss_and_steps_equal_a_plain_loop(tiny, sentences, monkeypatch):
    """The same AdamW steps on the mean over the completions' tokens, with the model's loss."""
    prompts = ["To whom? " * (1 + i % 2) for i in range(6)]
    ours, plain = tiny("llama"), tiny("llama")
    monkeypatch.setattr(
        batching, "LOGITS_PER_BLOCK", 7 * ours.vocabulary_size
    )  # several blocks of rows, and parts of them
    monkeypatch.setattr(batching, "LOGITS_PER_CPU_REDUCTION", 2 * ours.vocabulary_size)
    tokens = tokenize(ours.tokenizer, texts_of(sentences[:6], prompts), 64)
    settings = Training(epochs=2, batch_size=3, warmup=0.3, weight_decay=0.1, schedule="cosine")
    losses = [e.loss for e in run(made(ours, "full"), tokens, settings, budget=50)]
    plain.module.train()
    optimizer = torch.optim.AdamW(plain.module.parameters(), lr=1e-2, weight_decay=0.1)
    step, expected = 0, []
    for epoch in (1, 2):
        order = train.seed_rngs(KEY, epoch).permutation(6)
        total = 0.0
        for batch in (order[:3], order[3:]):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * train.learning_rate_factor(settings, step, 4)
            summed, count = 0.0, 0
            for i in batch:
                ids = torch.tensor(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
                logits = plain.module(input_ids=ids[None]).logits[0]
                first = int(tokens.first[i])
                summed = summed + torch.nn.functional.cross_entropy(
                    logits[first - 1 : -1], ids[first:], reduction="sum"
                )
                count += len(ids) - first
            loss = summed / count
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total += float(loss.detach()) * 3
            step += 1
        expected.append(total / 6)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for (name, a), b in zip(ours.module.named_parameters(), plain.module.parameters(), strict=True):
        # Adam divides by tiny second moments: rounding shows more in weights that hardly have a gradient.
        assert (a - b).abs().max() < 2e-3, name


@pytest.mark.parametrize("method", METHODS)
def test_gradients_equal_those_of_cross_entropy(tiny, architecture, method, sentences, monkeypatch):
    """Compare with autograd through the model's logits, one text at a time, without blocks and padding."""
    model = made(tiny(architecture), method)
    monkeypatch.setattr(batching, "LOGITS_PER_BLOCK", 7 * model.vocabulary_size)
    monkeypatch.setattr(batching, "LOGITS_PER_CPU_REDUCTION", 2 * model.vocabulary_size)
    for part in model.module.modules():  # no dropout: its draws depend on shapes
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    tokens = tokenize(model.tokenizer, texts_of(sentences[:5]), 64)
    loss = StepLoss(model, tokens, Accelerator(cpu=True), torch.float32, 200).gradients(np.arange(5))
    found = {n: p.grad for n, p in train.trainable_parameters(model.module).items()}
    model.module.zero_grad()
    expected = torch.zeros(())
    for i in range(5):
        ids = torch.from_numpy(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])
        first = int(tokens.first[i])
        logits = model.module(input_ids=ids[None]).logits[0, -len(ids) :]
        wanted = torch.nn.functional.cross_entropy(logits[first - 1 : -1], ids[first:], reduction="sum")
        expected = expected + wanted / len(tokens.scored_ids)
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, parameter in train.trainable_parameters(model.module).items():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_the_gradient_of_the_logits_is_not_copied(tiny, sentences):
    model = made(tiny("llama"), "lora")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:5]), 64)
    of_all = StepLoss(model, tokens, Accelerator(cpu=True), torch.float32, 200)
    with torch.profiler.profile(record_shapes=True) as seen:
        of_all.gradients(np.arange(5))
    zeroed = [e.input_shapes[0] for e in seen.events() if e.name in {"aten::zero_", "aten::zeros"} and e.input_shapes]
    assert not [shape for shape in zeroed if shape[-1:] == [model.vocabulary_size]]


@pytest.mark.parametrize("method", METHODS)
def test_resumed_training_takes_the_same_steps(tiny, method, sentences):
    settings = Training(epochs=3, batch_size=4)
    complete = made(tiny("gpt2"), method)  # GPT-2 has dropout: its draws must be the same too
    tokens = tokenize(complete.tokenizer, texts_of(sentences[:12]), 64)
    state = None
    for epoch in run(complete, tokens, settings):
        if epoch.number == 1:
            state = deepcopy(epoch.state())
    resumed = made(tiny("gpt2"), method)
    numbers = [e.number for e in run(resumed, tokens, settings, start=(1, state))]
    assert numbers == [1, 2, 3], "the resumed epoch, to complete its observations, and the next ones"
    for (name, a), b in zip(
        train.trainable_parameters(complete.module).items(),
        train.trainable_parameters(resumed.module).values(),
        strict=True,
    ):
        assert torch.equal(a, b), name


def test_another_seed_gives_another_order(tiny):
    assert (train.seed_rngs(KEY, 1).permutation(50) != train.seed_rngs(KEY, 2).permutation(50)).any()
    assert (train.seed_rngs(KEY, 1).permutation(50) == train.seed_rngs(KEY, 1).permutation(50)).all()


def test_the_head_is_untied_and_its_trunk_runs_once(tiny, sentences, monkeypatch):
    model = made(tiny("llama"), "head")
    module = model.module
    assert set(train.trainable_parameters(module)) == {"lm_head.weight"}
    assert module.get_input_embeddings().weight is not module.get_output_embeddings().weight
    tokens = tokenize(model.tokenizer, texts_of(sentences[:8]), 64)
    passes = []
    real = forward.hidden_rows
    monkeypatch.setattr(forward, "hidden_rows", lambda *a: passes.append(1) or real(*a))
    for _ in run(model, tokens, Training(epochs=3, batch_size=4), budget=10_000):
        forward.token_stats(model, tokens)
    assert len(passes) == 1


@pytest.mark.parametrize(
    ("scored_in", "made_in"),
    [
        (None, [torch.bfloat16]),
        (torch.bfloat16, [torch.bfloat16]),
        (torch.float32, [torch.bfloat16, torch.float32]),
    ],
)
def test_hidden_states_are_computed_once_per_precision(tiny, sentences, monkeypatch, scored_in, made_in):
    model = made(tiny("llama"), "head")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:8]), 64)
    passes = []
    real = forward.hidden_rows
    monkeypatch.setattr(forward, "hidden_rows", lambda *a: passes.append(1) or real(*a))
    for _ in run(model, tokens, Training(epochs=3, batch_size=4), budget=10_000, precision=torch.bfloat16):
        if scored_in is not None:
            forward.token_stats(model, tokens, precision=scored_in)
    assert list(model.hidden) == [(tokens.digest, p) for p in made_in]
    assert len(passes) == len(made_in)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_scores_of_a_head_tuned_model_are_bit_equal_to_a_plain_pass(tiny, architecture, sentences, precision):
    model = made(tiny(architecture), "head")
    # Longest first, as in a forward pass: the same sums in the same order.
    longest = sorted(sentences[:8], key=lambda s: -len(model.tokenizer(s)["input_ids"]))
    tokens = tokenize(model.tokenizer, texts_of(longest), 64)
    for _ in run(model, tokens, Training(epochs=2, batch_size=4), precision=torch.bfloat16):
        kept = forward.token_stats(model, tokens, precision=precision)
        plain = forward.token_stats(dataclasses.replace(model, hidden=None), tokens, precision=precision)
        for field in dataclasses.fields(kept):
            a, b = getattr(kept, field.name), getattr(plain, field.name)
            if has_slow_products(torch.device("cpu")):  # MKL's last bit depends on where in memory a matrix begins
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=field.name)
            else:
                np.testing.assert_array_equal(a, b, field.name)


@pytest.mark.parametrize(("method", "lowered"), [("head", False), ("lora", True)])
def test_a_trunk_is_cast_only_if_it_runs(tiny, sentences, monkeypatch, method, lowered):
    model = made(tiny("llama"), method)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:8]), 64)
    weight = trunk_and_head.trunk(model.module).layers[0].input_layernorm.weight
    found, real = set(), loss.raw_logits
    monkeypatch.setattr(loss, "raw_logits", lambda *a: found.add(weight.dtype) or real(*a))
    list(run(model, tokens, Training(batch_size=4), precision=torch.bfloat16))
    assert found == {torch.bfloat16 if lowered else torch.float32}


def test_hidden_states_are_cached_by_tokens(tiny, sentences):
    model = made(tiny("llama"), "head")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:3]), 64)
    turned = dataclasses.replace(tokens, ids=tokens.ids[::-1].copy())
    later = dataclasses.replace(tokens, first=tokens.first + 1)
    alone, backwards, fewer = (forward.token_stats(model, t) for t in (tokens, turned, later))
    assert np.abs(alone.logp - backwards.logp).max() > 0.01
    assert len(fewer.logp) == len(alone.logp) - 3
    assert len({tokens.digest, turned.digest, later.digest}) == 3


def test_only_a_frozen_trunk_is_cached(tiny):
    assert made(tiny("llama"), "head").hidden == {}
    for method in ("full", "lora", "prefix", "prompt", "p_tuning"):
        assert made(tiny("llama"), method).hidden is None, method


def test_large_cached_states_are_stored_in_a_mapped_file(tiny, sentences, monkeypatch):
    model = made(tiny("llama"), "head")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:8]), 64)
    expected = forward.token_stats(made(tiny("llama"), "head"), tokens).logp
    monkeypatch.setattr(forward, "MAX_HIDDEN_BYTES_IN_RAM", 0)
    np.testing.assert_array_equal(forward.token_stats(model, tokens).logp, expected)


@pytest.mark.parametrize("method", ["prefix", "prompt", "p_tuning"])
def test_prompt_methods_are_initialized_from_words(tiny, method, sentences):
    """The initial text followed by a text must have the log-probabilities of the method before training."""
    bare, model = tiny("llama"), made(tiny("llama"), method, virtual_tokens=6, text="The old queen of Lima wrote")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:3]), 64)
    ids = bare.tokenizer("The old queen of Lima wrote", add_special_tokens=False)["input_ids"]
    words = torch.tensor((ids * 6)[:6])
    got = forward.token_stats(model, tokens)
    for i in range(3):
        row = torch.cat([words, torch.tensor(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])])
        with torch.no_grad():
            logp = bare.module(input_ids=row[None]).logits[0].log_softmax(1)
        expected = logp[6:-1].gather(1, row[7:, None])[:, 0]
        np.testing.assert_allclose(
            got.logp[got.starts[i] : got.starts[i + 1]], expected, atol=2e-3 if method == "p_tuning" else 2e-5
        )


def test_lora_adapts_the_set_modules(tiny):
    def places(name, targets):
        return {
            n.split(".lora_A")[0].removeprefix("base_model.model.")
            for n in train.trainable_parameters(made(tiny(name), "lora", targets=targets).module)
            if "lora_A" in n
        }

    assert {n.split(".")[-1] for n in places("llama", "attention")} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert {n.split(".")[-1] for n in places("llama", "projection")} == {"gate_proj", "up_proj", "down_proj"}
    assert places("llama", "all") == places("llama", "attention") | places("llama", "projection")
    assert {".".join(n.split(".")[-2:]) for n in places("gpt2", "all")} == {
        "attn.c_attn",
        "attn.c_proj",
        "mlp.c_fc",
        "mlp.c_proj",
    }
    experts = places("mixtral", "projection")
    assert experts
    assert all("experts" in n for n in experts)


def test_lora_starts_at_the_base(tiny, architecture, sentences):
    tokens = tokenize(tiny(architecture).tokenizer, texts_of(sentences[:3]), 64)
    expected = forward.token_stats(tiny(architecture), tokens).logp
    np.testing.assert_allclose(forward.token_stats(made(tiny(architecture), "lora"), tokens).logp, expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_frozen_weights_are_restored_exactly(tiny, method, sentences):
    model = made(tiny("llama"), method)
    frozen = {n: (p.data_ptr(), p.detach().clone()) for n, p in model.module.named_parameters() if not p.requires_grad}
    tokens = tokenize(model.tokenizer, texts_of(sentences[:8]), 64)
    for _ in train.train(
        model,
        tokens,
        training=Training(epochs=1, batch_size=4),
        learning_rate=1e-3,
        key=KEY,
        precision=torch.bfloat16,
        budget=200,
    ):
        pass
    for name, parameter in model.module.named_parameters():
        if name in frozen:
            assert parameter.dtype == torch.float32
            assert parameter.data_ptr() == frozen[name][0]
            assert torch.equal(parameter, frozen[name][1])


def test_a_loss_that_is_not_finite_raises_an_error_with_step_and_fix(tiny, sentences):
    model = made(tiny("llama"), "full")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:8]), 64)
    with torch.no_grad():
        model.module.lm_head.weight[5] = math.inf
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 of 2: .*learning_rate 0\.001 \(now 0\.01\)"):
        list(run(model, tokens, Training(batch_size=4)))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.5, 1, 1, 1]), ("linear", [0.5, 1, 2 / 3, 1 / 3]), ("cosine", [0.5, 1, 0.75, 0.25])],
)
def test_schedules(schedule, expected):
    settings = Training(schedule=schedule, warmup=0.25)
    np.testing.assert_allclose([train.learning_rate_factor(settings, s, 4) for s in range(4)], expected)
