"""Generation with a cache in batches, against one row at a time without a cache: greedy and sampled."""

import numpy as np
import pytest
import torch
from transformers.cache_utils import DynamicSlidingWindowLayer

from byheart.lm import generate, trunk_and_head
from byheart.lm.generate import GenerationRequest, generate_greedy, generate_samples
from byheart.lm.kv_buffer import GROWTH, BufferedLayer, write_in_place
from testing.wrapped import tuned

METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")
LENGTHS = ((5, 12), (1, 6), (9, 12), (9, 3), (14, 1), (3, 20))  # tokens of the prefix, tokens to generate


def openings_of(model, sentences, lengths=LENGTHS):
    rows = [model.tokenizer(s * 2, add_special_tokens=False)["input_ids"] for s in sentences]
    return [
        GenerationRequest(np.array(row[:n], dtype=np.int64), new) for row, (n, new) in zip(rows, lengths, strict=False)
    ]


def plain(model, opening, choose):
    """One row, one token at a time, with a complete forward pass for every token."""
    ids = opening.ids.tolist()
    for step in range(opening.max_new_tokens):
        with torch.no_grad():
            logits = model.module(
                input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
            ).logits[0, -1]
        ids.append(choose(logits, step))
    return ids[len(opening.ids) :]


def without_end(monkeypatch):
    monkeypatch.setattr(generate, "end_tokens", lambda _: [])


@pytest.mark.parametrize("method", [None, *METHODS])
def test_greedy_generation_equals_a_plain_loop(tiny, architecture, method, sentences, monkeypatch):
    without_end(monkeypatch)
    model = tuned(tiny(architecture), method)
    openings = openings_of(model, sentences)
    found = generate_greedy(model, openings, budget=15)  # three batches, with prefixes of several lengths in one
    expected = [plain(model, o, lambda logits, _: int(logits.argmax())) for o in openings]
    assert [f.tolist() for f in found] == expected


@pytest.mark.parametrize("method", [None, "lora", "prefix", "prompt", "p_tuning"])
def test_samples_equal_a_plain_loop(tiny, architecture, method, sentences, monkeypatch):
    without_end(monkeypatch)
    model = tuned(tiny(architecture), method)
    openings = openings_of(model, sentences)[:4]
    found = generate_samples(model, openings, [7, 8, 9, 10], samples=2, top_k=20, temperature=2.0, budget=100)
    longest = max(o.max_new_tokens for o in openings)
    for opening, seed, several in zip(openings, [7, 8, 9, 10], found, strict=True):
        for j, got in enumerate(several):
            chance = np.random.default_rng([seed, j]).random(longest)

            def choose(logits, step, chance=chance):
                likeliest = sorted(sorted(range(len(logits)), key=lambda v: -float(logits[v]))[:20])
                weights = np.exp([float(logits[v]) / 2 - float(logits.max()) / 2 for v in likeliest])
                total = 0.0
                for token, weight in zip(likeliest, weights / weights.sum(), strict=True):
                    total += weight
                    if total > chance[step]:
                        return token
                return likeliest[-1]

            assert got.tolist() == plain(model, opening, choose)


def test_generation_equals_transformers_without_padding(tiny, architecture, sentences, monkeypatch):
    without_end(monkeypatch)
    model = tuned(tiny(architecture), "prompt")
    openings = openings_of(model, sentences, [(6, 10)] * 3)
    ids = torch.from_numpy(np.stack([o.ids for o in openings]))
    theirs = model.module.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False, eos_token_id=None
    )
    assert [f.tolist() for f in generate_greedy(model, openings)] == theirs[:, 6:].tolist()


@pytest.mark.parametrize("method", [None, "lora", "prefix", "prompt"])
def test_generated_rows_do_not_depend_on_other_rows(tiny, method, sentences):
    model = tuned(tiny("llama"), method)
    openings, seeds = openings_of(model, sentences), [3, 1, 4, 1, 5, 9]
    settings = {"samples": 3, "top_k": 300, "temperature": 1.5}
    together = generate_samples(model, openings, seeds, **settings)
    order = [4, 0, 5, 2, 1, 3]
    differing = 0
    for budget in (1, 70, 10_000):
        shuffled = generate_samples(
            model, [openings[i] for i in order], [seeds[i] for i in order], budget=budget, **settings
        )
        for place, i in enumerate(order):
            differing += sum(a.tolist() != b.tolist() for a, b in zip(shuffled[place], together[i], strict=True))
    few = generate_samples(model, openings[:1], seeds[:1], **{**settings, "samples": 2})
    differing += sum(a.tolist() != b.tolist() for a, b in zip(few[0], together[0], strict=False))
    assert differing <= 1  # a random number at the exact border of two tokens
    assert len({tuple(a) for a in together[0]}) == 3


def test_tokens_are_sampled_by_their_probabilities(tiny, sentences):
    model = tiny("llama")
    (opening,) = openings_of(model, sentences, [(5, 1)])
    with torch.no_grad():
        logits = model.module(input_ids=torch.from_numpy(opening.ids)[None]).logits[0, -1].double()
    top = (logits / 3.0).topk(5)
    found = [
        int(w[0]) for w in generate_samples(model, [opening], [0], samples=4000, top_k=5, temperature=3.0)[0] if len(w)
    ]
    assert set(found) <= set(top.indices.tolist())
    share = np.array([found.count(v) for v in top.indices.tolist()]) / 4000
    np.testing.assert_allclose(share, top.values.softmax(0).numpy(), atol=0.03)


def test_one_candidate_is_greedy(tiny, sentences):
    model = tiny("gpt2")
    openings = openings_of(model, sentences)
    single = generate_samples(model, openings, range(6), samples=1, top_k=1)
    assert [s[0].tolist() for s in single] == [g.tolist() for g in generate_greedy(model, openings)]


def test_generation_stops_before_an_end_token(tiny, sentences, monkeypatch):
    model = tiny("llama")
    openings = openings_of(model, sentences)
    without_end(monkeypatch)
    complete = [w.tolist() for w in generate_greedy(model, openings)]
    end = complete[0][4]
    monkeypatch.setattr(generate, "end_tokens", lambda _: [end])
    for found, before, opening in zip(generate_greedy(model, openings), complete, openings, strict=True):
        assert found.tolist() == before[: before.index(end) if end in before else opening.max_new_tokens]


def test_end_tokens_are_those_of_model_and_tokenizer(tiny):
    model = tiny("gpt2")
    model.module.generation_config.eos_token_id = [7, 2]
    assert generate.end_tokens(model) == [2, 7]
    model.module.generation_config.eos_token_id = None
    assert generate.end_tokens(model) == [2]


def test_generation_does_not_change_the_model_or_leave_a_cache(tiny, sentences):
    model = tuned(tiny("gpt2"), "prompt")
    model.module.train()
    modes = [m.training for m in model.module.modules()]
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    one, two = ([w.tolist() for w in generate_greedy(model, openings_of(model, sentences))] for _ in range(2))
    assert one == two
    assert [m.training for m in model.module.modules()] == modes
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in model.module.named_parameters())
    assert model.module.get_base_model().config.use_cache is False


def test_out_of_memory_halves_the_budget(tiny, sentences, monkeypatch):
    model = tiny("llama")
    openings = openings_of(model, sentences)
    expected = [w.tolist() for w in generate_greedy(model, openings)]
    real, seen = generate._generate_batch, []

    def scarce(model, rows, choose, read):
        seen.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return real(model, rows, choose, read)

    monkeypatch.setattr(generate, "_generate_batch", scarce)
    assert [w.tolist() for w in generate_greedy(model, openings)] == expected
    assert max(seen) > 2
    assert "forward" not in vars(trunk_and_head.trunk(model.module))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", [None, "prefix", "prompt"])
def test_a_cache_written_in_place_gives_the_tokens_of_a_concatenated_one(
    tiny, architecture, method, precision, sentences, monkeypatch
):
    without_end(monkeypatch)
    model = tuned(tiny(architecture), method)
    openings = openings_of(model, sentences, [(9, GROWTH + 20), (5, GROWTH)])
    layers = []

    def observed(cache):
        write_in_place(cache)
        layers.extend(getattr(cache, "layers", ()))

    monkeypatch.setattr(generate, "write_in_place", observed)
    found = generate_greedy(model, openings, precision=precision)
    windows = [isinstance(layer, DynamicSlidingWindowLayer) for layer in layers]
    assert all(isinstance(layer, BufferedLayer) != w for layer, w in zip(layers, windows, strict=True))
    assert any(isinstance(layer, BufferedLayer) for layer in layers)
    assert {layer.keys.dtype for layer in layers if isinstance(layer, BufferedLayer)} == {precision}
    monkeypatch.setattr(generate, "write_in_place", lambda cache: None)
    expected = generate_greedy(model, openings, precision=precision)
    assert [f.tolist() for f in found] == [e.tolist() for e in expected]


@pytest.mark.parametrize(
    ("budget", "cache_bytes", "tokens"), [(100, 2**30, 400), (100, 0, 100), (100, 250 * 4 * 2 * 2 * 16, 250)]
)
def test_a_batch_of_generation_is_larger_within_the_memory_of_its_cache(tiny, monkeypatch, budget, cache_bytes, tokens):
    config = tiny("llama").module.config
    assert (config.num_hidden_layers, config.num_key_value_heads * config.head_dim) == (2, 16)
    monkeypatch.setattr(generate, "CACHE_BYTES", cache_bytes)
    assert generate._generation_budget(tiny("llama"), budget) == tokens


def test_zero_tokens_generate_nothing(tiny, sentences):
    model = tiny("llama")
    found = generate_greedy(model, openings_of(model, sentences, [(4, 0), (4, 3)]))
    assert len(found[0]) == 0
    none = openings_of(model, sentences, [(4, 0), (6, 0)])
    assert [[len(w) for w in several] for several in generate_samples(model, none, [1, 2], samples=2)] == [
        [0, 0],
        [0, 0],
    ]
    assert generate_greedy(model, []) == []
    assert generate_samples(model, [], [], samples=3) == []
