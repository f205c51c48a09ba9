"""Checks of a server's answers: invalid numbers, other weights, other spellings of tokens."""

import numpy as np
import pytest
from transformers import AutoTokenizer

import byheart
from byheart.auditing.server import address, audit, spellings
from byheart.core.errors import ModelError
from testing.served_texts import FEW, MEMBERS, NONMEMBERS, changed, weights
from testing.stand_in_server import StandIn
from testing.vllm_format import PART

pytestmark = pytest.mark.usefixtures("short_waits")


def audited(server, **requested):
    return byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, **{"attacks": FEW, **requested})


def loss(found):
    return found.scores[1]["loss"]


def test_a_server_that_scores_and_generates_with_different_weights_is_refused(folders, monkeypatch):
    """As in vLLM, which ignores a LoRA on the output layer in prompt log-probabilities."""

    def prompt_without_adapter(answer):
        listed = answer["choices"][0]["logprobs"]
        own = len(listed["token_logprobs"]) - answer["usage"]["completion_tokens"]
        listed["token_logprobs"] = [x and (x - 6 if i < own else x) for i, x in enumerate(listed["token_logprobs"])]
        return answer

    with StandIn(folders("llama"), fail=lambda n, body: body and prompt_without_adapter) as server:
        with pytest.raises(ModelError, match=r"when tuned generates them.*when it reads them.*Serve the merged model"):
            audited(server)
        monkeypatch.setattr(audit, "check_reading", lambda models, texts: [])
        assert audited(server).ruling.word == "nothing"


def test_a_consistent_server_raises_no_doubt(folders):
    for name, bos in (("llama", False), ("gemma", True)):
        with StandIn(folders(name), bos=bos) as server:
            assert not any("generate" in w for w in audited(server).warnings), name


@pytest.mark.parametrize("number", [-9999.0, -3.4028234663852886e38])
def test_a_placeholder_for_minus_infinity_is_not_a_log_probability(folders, number):
    with (
        StandIn(folders("llama"), fail=changed(token_logprobs=lambda v: [*v[:2], number, *v[3:]])) as server,
        pytest.raises(ModelError, match="not finite"),
    ):
        audited(server)


@pytest.mark.parametrize("number", [0.0, -1.0])
def test_equal_numbers_for_all_tokens_are_not_log_probabilities(folders, number):
    with (
        StandIn(folders("llama"), fail=changed(token_logprobs=lambda v: [None, *[number] * (len(v) - 1)])) as server,
        pytest.raises(ModelError, match="no log-probabilities of what it reads"),
    ):
        audited(server)


def test_a_zero_for_the_first_token_counts_as_missing(folders):
    with StandIn(folders("llama"), fail=changed(token_logprobs=lambda v: [0.0, *v[1:]])) as server:
        np.testing.assert_allclose(loss(audited(server)), loss(weights(folders("llama"), attacks=FEW)), atol=2e-4)


def spelled_by_id(folder):
    """A fault that spells every token by its id; vLLM's "" is a part of a character, here any."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = {tokenizer.decode([i]): i for i in range(len(tokenizer))}
    return lambda tokens: [f"token_id:{ids[t or PART]}" for t in tokens]


TEXTS_OF_LETTERS = [[t for t in side if t.isascii()] for side in (MEMBERS, NONMEMBERS)]


def test_token_ids_are_decoded_or_refused_with_the_fix(folders):
    members, nonmembers = TEXTS_OF_LETTERS
    as_ids = changed(tokens=spelled_by_id(folders("llama")["tuned"]))
    own = loss(weights(folders("llama"), members, nonmembers, attacks=FEW))

    def only_by_default(n, body):
        return as_ids(n, body) if body and body.get("return_tokens_as_token_ids", True) else None

    with StandIn(folders("llama"), fail=only_by_default) as server:
        found = byheart.audit_endpoint(server.url, "tuned", members, nonmembers, attacks=FEW)
    np.testing.assert_allclose(loss(found), own, atol=2e-4)
    tokenizer = AutoTokenizer.from_pretrained(folders("llama")["tuned"])
    with StandIn(folders("llama"), fail=as_ids) as server:
        found = byheart.audit_endpoint(server.url, "tuned", members, nonmembers, attacks=FEW, tokenizer=tokenizer)
        np.testing.assert_allclose(loss(found), own, atol=2e-4)
        with pytest.raises(ModelError, match=r"ids in place of tokens \('token_id:\d+'\).*--tokenizer"):
            byheart.audit_endpoint(server.url, "tuned", members, nonmembers, attacks=FEW)


@pytest.mark.parametrize(
    ("spelt", "read"),
    [
        (["Ġthe", "Ġcaf", "Ã©", "Ċ"], [" the", " caf", "é", "\n"]),
        (["▁the", "▁caf", "<0xC3>", "<0xA9>"], [" the", " caf", "\ufffd", "\ufffd"]),
        ([" the", "bytes:\\xc3", "bytes:\\xc3\\xa9"], [" the", "\ufffd", "é"]),
    ],
)
def test_raw_token_spellings_are_decoded(spelt, read):
    assert tuple(read) in list(spellings.spellings(spelt))


def test_two_names_for_the_same_weights_are_detected_with_noisy_answers(folders):
    jitter = np.random.default_rng(0)
    shaken = changed(token_logprobs=lambda v: [x and x - abs(jitter.normal(scale=1e-4)) for x in v])
    same = {"base": folders("llama")["base"], "tuned": folders("llama")["base"]}
    with (
        StandIn(same, fail=shaken) as server,
        pytest.raises(ModelError, match="both names may serve the same weights"),
    ):
        audited(server, base_name="base")


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://localhost:11434/api/generate", "http://localhost:11434/v1"),
        ("http://localhost:11434/api/chat", "http://localhost:11434/v1"),
        ("http://localhost:8080/completion", "http://localhost:8080/v1"),
        ("http://localhost:8080/v1/chat/completions", "http://localhost:8080/v1"),
    ],
)
def test_urls_of_native_apis_are_replaced_by_the_openai_compatible_one(written, url):
    assert address.api_url(written) == url
