"""Settings that refer to content (a file, a model's weights, attacks): the content is part of the key."""

import json
import sys
import types
from typing import Annotated

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

import byheart
from byheart.core import registry
from byheart.core.errors import DataError, ModelError
from byheart.core.registry import ContentIdentity, choose
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan
from byheart.study.study_file import parse_study as parsed


def content(folder, **changes):
    return {
        "name": "standing",
        "models": str(folder),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "known": 2, "max_tokens": 60},
        "methods": ["lora"],
        "training": {"epochs": 1, "batch_size": 4},
        "metrics": ["auc"],
        **changes,
    }


@pytest.fixture
def words(tiny_folder, tmp_path):
    """A folder of a tiny masked model with the tokenizer of the tiny models."""
    torch.manual_seed(1)
    place = tmp_path / "words"
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertForMaskedLM(BertConfig(vocab_size=300, **shape)).save_pretrained(place)
    AutoTokenizer.from_pretrained(tiny_folder("llama")).save_pretrained(place)
    return place


def test_a_changed_corpus_under_the_same_path_is_counted_again(tiny_folder, tmp_path):
    corpus, store = tmp_path / "corpus.txt", Store.open(tmp_path / "store")
    requested = content(
        tiny_folder("llama"), attacks=["dc_pdd"], observations=[{"frequencies": {"source": str(corpus)}}]
    )

    def run():
        results = byheart.run(requested, store=store)
        assert not results.failed, results.failed
        (planned,) = plan(parsed(requested), store)
        key = evidence_key(planned, planned.observation("frequencies"), ModelState(0))
        return key, read_arrays(store.folder("evidence", key))["frequency"], {r.scores for r in results.rows}

    corpus.write_text("Account account account.\n")
    key, counted, scores = run()
    assert run()[0] == key
    corpus.write_text("Call call call call call.\n")
    other, recounted, rescored = run()
    assert other != key
    assert (counted != recounted).any()
    assert not (scores & rescored) - {""}


def test_a_missing_corpus_is_refused_before_any_work(tiny_folder, tmp_path):
    observations = [{"frequencies": {"source": str(tmp_path / "none.txt")}}]
    requested = content(tiny_folder("llama"), attacks=["dc_pdd"], observations=observations)
    with pytest.raises(DataError, match=r"none\.txt: cannot be read \(No such file or directory\)"):
        byheart.run(requested, store=tmp_path / "store")
    assert not list(tmp_path.glob("store/evidence/*"))


def test_changed_weights_under_the_same_path_are_another_masked_model(tiny_folder, words, tmp_path):
    store = Store.open(tmp_path / "store")

    def key():
        reported = [{"neighbour_texts": {"masked_model": str(words)}}]
        (planned,) = plan(
            parsed(content(tiny_folder("llama"), attacks=["neighbourhood"], observations=reported)), store
        )
        return [
            evidence_key(planned, planned.observation(n), ModelState(1))
            for n in ("neighbour_texts", "neighbours", "target")
        ]

    first = key()
    assert key() == first
    registry.load_function("observations", "neighbour_texts")
    from byheart.lm.base_models import identity

    model = BertForMaskedLM.from_pretrained(words)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.add_(0.1)
    model.save_pretrained(words)
    identity.cache_clear()  # as in another process
    other = key()
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert first[2] == other[2]


def test_an_invalid_masked_model_is_refused_when_the_study_is_planned(tiny_folder, words, tmp_path):
    store = Store.open(tmp_path / "store")
    for name, says in (
        (str(tiny_folder("llama")), "llama is not a masked language model"),
        (str(tmp_path / "gone"), "does not exist"),
    ):
        reported = [{"neighbour_texts": {"masked_model": name}}]
        requested = content(tiny_folder("llama"), attacks=["neighbourhood"], observations=reported)
        with pytest.raises(ModelError, match=says) as error:
            byheart.run(requested, store=store)
        assert "\n" not in str(error.value)
    assert not list(store.root.glob("evidence/*"))
    # The Hub's is known by its id, so that a plan needs no network.
    assert (
        choose("observations", "neighbour_texts", {"masked_model": "distilbert/distilroberta-base"}).content_identity
        == {}
    )


def test_an_ensemble_has_another_key_if_the_revision_of_an_attack_changes(monkeypatch):
    before = choose("attacks", "ensemble")
    assert before.identity["content"] == {"of": {"error_zone": 1}}
    monkeypatch.setattr(sys.modules["byheart.attacks.wbc"], "REVISION", 1, raising=False)
    after = choose("attacks", "ensemble")
    assert after.identity["content"] == {"of": {"error_zone": 1, "wbc": 1}}
    assert after.key != before.key
    assert choose("attacks", "ensemble", {"of": ["loss", "min_k"]}).content_identity == {}


def test_settings_of_external_code_may_have_a_content_identity(monkeypatch, tmp_path):
    module = types.ModuleType("their_standing")
    reported = {"a": "x", "b": ""}

    def odd(target, *, path: Annotated[str, ContentIdentity(reported.get)] = "b", power: int = 1): ...

    module.odd = odd
    odd.__module__ = "their_standing"
    monkeypatch.setitem(sys.modules, "their_standing", module)
    assert choose("attacks", "their_standing:odd").content_identity == {}
    found = choose("attacks", "their_standing:odd", {"path": "a"})
    assert found.identity["content"] == {"path": "x"}
    assert json.loads(json.dumps(found.recipe))["content"] == {"path": "x"}
    reported["a"] = "y"
    assert choose("attacks", "their_standing:odd", {"path": "a"}).key != found.key
