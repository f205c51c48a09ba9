"""Context texts in studies: masked, similar, few; prompts and completions."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import byheart
from byheart.core.errors import DataError
from byheart.lm.tokens import tokenize
from byheart.observations.after_masked import masked
from byheart.observations.after_similar import nearest
from byheart.observations.nonmember_prefix import nonmember_prefix
from byheart.observations.target import target as observed
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from testing.context_texts import KNOWN, SHORT
from testing.reading import scorer, texts_of
from testing.wrapped import tuned


@given(st.text(max_size=60).filter(str.strip), st.floats(0.01, 1), st.integers(0, 99))
def test_masking_replaces_only_a_share_of_the_words(text, share, seed):
    found = masked(text, share, np.random.default_rng(seed))
    before, after = re.split(r"(\S+)", text), re.split(r"(\S+)", found)
    assert before[::2] == after[::2]  # the spaces
    words = [w for w in before[1::2] if any(map(str.isalnum, w))] or before[1::2]
    changed = [(b, a) for b, a in zip(before, after, strict=True) if a != b]
    assert all(a == "word" for _, a in changed)
    assert len(changed) + before.count("word") >= max(1, int(share * len(words)))
    assert len(changed) <= max(1, int(share * len(words)))


def test_masking_changes_texts_that_the_authors_leave_unchanged():
    """The authors' code masks int(share N) of the words that contain a letter a to z."""
    for text, ours in (("Lisbon", "word"), ("Москва 1812", None), ("?!", "word")):
        found = masked(text, 0.7, np.random.default_rng(0))
        theirs = int(0.7 * sum(bool(re.search("[a-zA-Z]", w)) for w in text.split()))
        assert theirs == 0
        assert found != text
        assert ours in (None, found)
    ten = masked(" ".join("abcdefghij"), 0.7, np.random.default_rng(0))
    assert ten.split().count("word") == 7


def test_the_most_similar_known_texts_come_first():
    known = texts_of(["the cat sat", "a dog ran", "the dog sat down", "the the the"])
    texts = texts_of(["A dog ran away", "zebra"], ["", "down"], name="x")
    found = nearest(texts, known, 2)
    assert found[0, 0] == 1
    assert found[1, 0] == 2  # the prompt counts
    assert nearest(texts_of(["zebra"]), known, 4).tolist() == [[0, 1, 2, 3]]
    assert (nearest(texts.take([1, 0]), known, 2) == found[::-1]).all()


def content(folder, path, **changes):
    return {
        "name": "after",
        "models": str(folder),
        "datasets": [{"files": {"path": str(path)}}],
        "data": {"train": 12, "members": 8, "nonmembers": 8, "validation": 4, "known": 4, "max_tokens": 30},
        "methods": ["lora", "prompt", "head"],
        "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01},
        "attacks": ["loss", "recall", {"con_recall": {"gamma": 1}}, "icp", "icp_similar"],
        "observations": [
            {"nonmember_prefix": {"shots": 2}},
            {"member_prefix": {"shots": 2}},
            {"after_masked": {"probes": 2}},
            {"after_similar": {"probes": 2}},
        ],
        "metrics": ["auc"],
        **changes,
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    names = ["Ann", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo"]
    towns = ["Oslo", "Rome", "Lima", "Cairo"]
    rows = [
        {"prompt": f"{name} {n}:", "completion": f" lives in {town}{n * len(town)}."}
        for n, (name, town) in enumerate(itertools.product(names, towns))
    ]
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_study_of_prompts_and_completions(tiny_folder, pairs, tmp_path):
    store = Store.open(tmp_path / "store")
    results = byheart.run(content(tiny_folder("llama"), pairs), store=store)
    assert not results.failed, results.failed
    auc = {(r.method, r.epoch, r.attack) for r in results.rows if r.metric == "auc"}
    assert len(auc) == 3 * 2 * 5
    observed_, base = {}, {}
    for recipe in (store.root / "evidence").glob("*/recipe.json"):
        reported = json.loads(recipe.read_text())["recipe"]
        if reported["observation"]["name"].startswith("after_"):
            kind = observed_ if "cell" in reported["inputs"]["model"] else base
            kind.setdefault(reported["observation"]["name"], []).append(read_arrays(recipe.parent))
    assert {n: len(v) for n, v in base.items()} == dict.fromkeys(observed_, 1)  # once for all methods
    for found in observed_.values():
        assert len(found) == 4, "three trained methods and the initialized prompt"
        name = "loglik" if "loglik" in found[0] else "logp"
        assert all(np.abs(a[name] - b[name]).max() > 1e-4 for a, b in itertools.combinations(found, 2))


def test_a_study_without_enough_known_texts_is_refused_before_training(tiny_folder, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.lm.train.train", lambda *_, **__: pytest.fail("trained"))
    requested = content(tiny_folder("llama"), pairs, observations=[], attacks=["recall"], methods=["lora"])
    with pytest.raises(DataError, match=r"\b4\b.* data\.known,? to 7 .*shots"):
        byheart.run(requested, store=tmp_path / "store")
    requested["data"] = {**requested["data"], "known": 0}
    with pytest.raises(DataError, match=r"attacks recall\b.* data\.known"):
        byheart.run(requested, store=tmp_path / "store")


def test_cached_hidden_states_are_those_of_the_same_context(tiny):
    """A head's trunk runs once for a set of texts; the same texts after shots are another set."""
    model = tuned(tiny("llama"), "head")
    tokens, known = (tokenize(model.tokenizer, texts_of(strings), 64) for strings in (SHORT, KNOWN))
    alone = observed(scorer(model), tokens)
    forgetful = dataclasses.replace(model, hidden=None)
    for shots in (1, 2):
        after = nonmember_prefix(scorer(model), tokens, known, shots=shots)
        np.testing.assert_allclose(
            after.logp, nonmember_prefix(scorer(forgetful), tokens, known, shots=shots).logp, atol=1e-5
        )
    np.testing.assert_allclose(observed(scorer(model), tokens).logp, alone.logp, atol=1e-6)
    assert len(model.hidden) == 3
