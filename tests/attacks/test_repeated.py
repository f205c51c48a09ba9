"""Texts read twice, against the raw model text by text; and a small study with the attacks that compare with known texts."""

import json
import random

import numpy as np
import pytest
import torch

import byheart
from byheart.core import registry
from byheart.lm.forward import Scorer
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from byheart.observations import _repetition
from testing.reading import texts_of
from testing.wrapped import tuned

repeated = registry.load_function("observations", "repeated")
known_nonmembers_repeated = registry.load_function("observations", "known_nonmembers_repeated")


def plain_second(model, prompt, scored):
    """Log-probabilities of the second reading's scored tokens, from the raw model's own logits."""
    tokenizer = model.tokenizer

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    bos = bos_ids(tokenizer)
    own = ids(prompt) + ids(scored)
    row = [*bos, *own, *ids("\n"), *own]
    with torch.no_grad():
        logits = model.module(
            input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long)
        ).logits[0]
    logp = torch.log_softmax(logits[logits.shape[0] - len(row) :].double(), 1)
    count = len(ids(scored)) - (
        not prompt and not bos
    )  # a token without a preceding token is scored in neither reading
    return [float(logp[at - 1, row[at]]) for at in range(len(row) - count, len(row))]


@pytest.mark.parametrize("method", [None, "lora", "head", "prefix", "prompt", "p_tuning"])
@pytest.mark.parametrize("prompted", [False, True])
def test_the_second_reading_equals_the_plain_loop(tiny, architecture, method, sentences, prompted):
    model = tiny(architecture)
    model = tuned(model, method) if method else model
    prompts = ["Who?", "The queen said", "", "Why did the baker write?"] if prompted else [""] * 4
    tokens = tokenize(model.tokenizer, texts_of([" " + s for s in sentences[:3]] + ["Hi there."], prompts), 64)
    scorer = Scorer(model, 150, torch.float32)
    before = scorer(tokens)
    found = repeated(scorer, tokens)
    expected = [plain_second(model, p, s) for p, s in zip(prompts, tokens.texts.scored, strict=True)]
    np.testing.assert_allclose(found.logp, np.concatenate(expected), atol=1e-4)
    assert found.starts.tolist() == before.starts.tolist()
    assert np.abs(found.logp - before.logp).max() > 1e-2  # another forward pass, not a cached one
    np.testing.assert_allclose(known_nonmembers_repeated(scorer, tokens).logp, found.logp, atol=1e-6)
    np.testing.assert_allclose(scorer(tokens).logp, before.logp, atol=1e-6)


def test_a_second_reading_does_not_depend_on_other_texts(tiny, sentences):
    model = tiny("llama")
    scorer = Scorer(model, 100, torch.float32)
    many = repeated(scorer, tokenize(model.tokenizer, texts_of(sentences[:5]), 64))
    for i in (0, 4):
        alone = repeated(scorer, tokenize(model.tokenizer, texts_of([sentences[i]]), 64))
        np.testing.assert_allclose(many.logp[many.starts[i] : many.starts[i + 1]], alone.logp, atol=1e-5)


@pytest.mark.parametrize("method", [None, "prompt", "prefix"])
def test_without_room_the_first_reading_loses_its_beginning(tiny, sentences, method, monkeypatch):
    model = tiny("gpt2")  # 128 tokens
    model = tuned(model, method) if method else model
    longest = model.max_text_tokens
    assert longest == (128 if method is None else 128 - model.module.active_peft_config.num_virtual_tokens)
    texts = [sentences[0], sentences[1] * 4, " ".join(sentences[2:]) * 2]
    tokens = tokenize(model.tokenizer, texts_of(texts), longest)
    assert tokens.lengths[0] * 2 < longest < tokens.lengths[1] * 2 - 10
    assert tokens.lengths[2] == longest
    scorer = Scorer(model, 4096, torch.float32)
    seen = []
    monkeypatch.setattr(Scorer, "__call__", lambda self, t: seen.append(t) or forward(self, t))
    found = repeated(scorer, tokens)
    (read,) = seen
    assert read.lengths.max() == longest
    for i in range(3):
        own = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        row = read.ids[read.starts[i] : read.starts[i + 1]]
        assert row[len(row) - len(own) :].tolist() == own.tolist()
        between = model.tokenizer(_repetition.SEPARATOR, add_special_tokens=False)["input_ids"]
        complete = [*own.tolist(), *between]
        first = row[: len(row) - len(own)].tolist()
        assert first == complete[len(complete) - len(first) :]
    np.testing.assert_allclose(
        found.logp[found.starts[2] :], forward(scorer, tokens).logp[found.starts[2] :], atol=1e-4
    )


forward = Scorer.__call__


def test_an_unknown_context_length_is_no_limit(tiny, sentences, monkeypatch):
    model = tiny("llama")
    assert model.max_text_tokens == 128
    monkeypatch.setattr(type(model), "context_length", None)
    assert model.max_text_tokens is None
    tokens = tokenize(model.tokenizer, texts_of([sentences[0]]), 64)
    assert len(repeated(Scorer(model, 4096, torch.float32), tokens).logp) == tokens.lengths[0] - 1


# A study with all three attacks, on plain texts and on completions after a prompt.

WORDS = ["river", "stone", "mill", "walks", "under", "never", "again", "queen", "sailor", "the", "wrote", "old", "lost"]


def rows(count):
    chance = random.Random(5)
    for _ in range(count):
        words = chance.choices(WORDS, k=14)
        yield {"prompt": " ".join(words[:5]) + ":", "completion": " " + " ".join(words[5:]) + "."}


def content(folder, dataset, methods):
    return {
        "name": "compared",
        "models": str(folder),
        "datasets": [dataset],
        "data": {"train": 22, "members": 12, "nonmembers": 12, "validation": 6, "known": 10, "max_tokens": 60},
        "methods": methods,
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.02},
        "attacks": ["dc_pdd", "camia", {"camia": {"combine": "fisher"}}, "wel", {"wel": {"difficulty": "base"}}],
        "metrics": ["auc"],
    }


def test_a_study_with_prompts_and_a_prompt_method(tiny_folder, tmp_path):
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows(80))))
    (tmp_path / "corpus.txt").write_text("\n".join(r["completion"] for r in list(rows(200))[80:]))
    requested = content(tiny_folder("gpt2"), {"files": {"path": str(tmp_path / "pairs.jsonl")}}, ["prefix", "lora"])
    requested["observations"] = [{"frequencies": {"source": str(tmp_path / "corpus.txt")}}]
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    measured = [r for r in results.rows if r.metric == "auc" and not r.initialized]
    found = {(r.method, r.epoch, r.attack, r.attack_settings): r.value for r in measured}
    assert len(found) == 2 * 3 * 5
    for method in ("prefix", "lora"):
        assert found[method, 0, "wel", ""] == found[method, 0, "wel", "difficulty=base"] == 0.5
    for attack in ("dc_pdd", "camia"):
        assert found["prefix", 0, attack, ""] == found["lora", 0, attack, ""]
    recipes = [json.loads(p.read_text())["recipe"] for p in (tmp_path / "store" / "evidence").glob("*/recipe.json")]
    made = [r["observation"]["name"] for r in recipes]
    assert made.count("frequencies") == 1  # once for all methods and epochs
    assert (
        made.count("repeated") == made.count("known_nonmembers_repeated") == 1 + 1 + 2 * 2
    )  # the base once, the initialized prefix


def test_a_study_of_memorized_plain_texts(tiny_folder, tmp_path):
    requested = content(tiny_folder("llama"), {"records": {"count": 80}}, ["full"])
    requested["training"] = {"epochs": 12, "batch_size": 4, "learning_rate": 0.005, "schedule": "constant"}
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    last = {(r.attack, r.attack_settings): r.value for r in results.rows if r.metric == "auc" and r.epoch == 12}
    assert min(last.values()) > 0.6, last
