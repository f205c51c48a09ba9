"""Answers of a real vLLM, as recorded: byheart reads them, and the stand-in answers in the same format."""

import re

import numpy as np
import pytest
from transformers import AutoTokenizer

import byheart
from byheart.auditing.server.client import Endpoint
from byheart.auditing.server.echo import parse_echo
from byheart.auditing.server.served_model import NEUTRAL, EndpointModel
from byheart.auditing.server.spellings import byte_of_character
from testing.served_texts import FEW, MEMBERS, NONMEMBERS, answer
from testing.stand_in_server import StandIn
from testing.vllm_format import NOT_SET, RECORDED, vllm_tokens

pytestmark = pytest.mark.usefixtures("short_waits")
ECHOES = ("plain", "emoji", "japanese", "special")
SIDES = (MEMBERS[:6], NONMEMBERS[:6])


def logprobs(name):
    return RECORDED[name]["answer"]["choices"][0]["logprobs"]


def vocabulary_bytes(piece):
    return bytes(byte_of_character()[c] for c in piece)


@pytest.mark.parametrize("name", ECHOES)
def test_recorded_answers_are_read_with_every_token_and_number(name):
    request, recorded = RECORDED[name]["request"], RECORDED[name]["answer"]
    found = parse_echo(recorded, request["prompt"], None, request["max_tokens"])
    count = recorded["usage"]["prompt_tokens"]
    assert found.tokens == tuple(logprobs(name)["tokens"][:count])
    assert found.logp[1:].tolist() == logprobs(name)["token_logprobs"][1:count]
    assert len(found.generated_tokens) == recorded["usage"]["completion_tokens"]
    assert found.is_alignment_confirmed == (name != "special")  # the text of special tokens is left out
    # No token starts after its true start, so none of a prompt is scored.
    joined = [b"".join(map(vocabulary_bytes, RECORDED[name]["vocabulary"][:i])) for i in range(count)]
    true = [len(b.decode("utf-8", "ignore")) for b in joined]
    assert (found.token_starts <= true).all()
    if name in {"plain", "special"}:
        assert found.token_starts.tolist() == true


@pytest.mark.parametrize("name", ECHOES)
def test_the_stand_in_spells_tokens_as_vllm(name):
    pieces = RECORDED[name]["vocabulary"]

    def decode(ids):
        return b"".join(vocabulary_bytes(pieces[i]) for i in ids).decode("utf-8", "replace")

    assert vllm_tokens(decode, list(range(len(pieces))), []) == logprobs(name)["tokens"][: len(pieces)]


def test_the_stand_in_answers_with_vllms_fields(folders):
    with StandIn(folders("llama")) as server:
        model = EndpointModel(Endpoint(server.url), "tuned", 64)
        request = {**RECORDED["plain"]["request"], "prompt": MEMBERS[0], "model": "tuned"}
        choice = model.endpoint.completion(request)["choices"][0]
    recorded = RECORDED["plain"]["answer"]["choices"][0]
    assert choice.keys() == recorded.keys()
    assert choice["logprobs"].keys() == recorded["logprobs"].keys()
    assert {n: choice[n] for n in NOT_SET} == {n: recorded[n] for n in NOT_SET}
    for ours, theirs in ((choice, request), (recorded, RECORDED["plain"]["request"])):
        listed, by_id = ours["logprobs"], ours["prompt_logprobs"]
        assert ours["text"].startswith(theirs["prompt"])
        for i, entries in enumerate(by_id[1:], 1):
            first, *others = entries.values()
            assert first["logprob"] == listed["token_logprobs"][i]
            assert listed["top_logprobs"][i] == {e["decoded_token"]: e["logprob"] for e in entries.values()}
            assert [o["rank"] for o in others] == ([1] if first["rank"] > 1 else [])


@pytest.mark.parametrize("name", ["longer than the context", "as long as the context", "unknown model"])
def test_the_stand_in_states_errors_in_vllms_words(folders, name):
    tokenizer = AutoTokenizer.from_pretrained(folders("llama")["tuned"])
    tokens = len(tokenizer(MEMBERS[0], add_special_tokens=False)["input_ids"])
    context = {"longer than the context": tokens - 1, "as long as the context": tokens}.get(name, tokens + 1)
    served = {"base": folders("llama")["tuned"]}  # the name in the recorded answers
    body = {"prompt": MEMBERS[0], "max_tokens": 1, "model": "nix" if name == "unknown model" else "base"}
    with StandIn(served, context=context) as server:
        status, ours = server.usual("/v1/completions", body)
    assert status == RECORDED[name]["status"]
    without_numbers = [
        {n: re.sub(r"\d+", "N", str(v)) for n, v in a["error"].items()} for a in (ours, RECORDED[name]["answer"])
    ]
    assert without_numbers[0] == without_numbers[1]


def test_a_text_that_fills_the_context_exactly_loses_its_end(folders):
    tokenizer = AutoTokenizer.from_pretrained(folders("llama")["tuned"])
    tokens = len(tokenizer(MEMBERS[0], add_special_tokens=False)["input_ids"])
    with StandIn(folders("llama"), context=tokens) as server:
        scored = EndpointModel(Endpoint(server.url), "tuned", 64).score(("a", "", MEMBERS[0]))
    assert scored.is_truncated
    assert MEMBERS[0].startswith(scored.scored)


def test_a_repetition_penalty_of_the_server_is_switched_off(folders):
    """As vLLM applies that of generation_config.json, with which a model does not repeat what it memorized."""
    prompt, texts = MEMBERS[0][:20], []
    for penalty in (1, 5):
        with StandIn(folders("llama"), penalty=penalty) as server:
            model = EndpointModel(Endpoint(server.url), "tuned", 64)
            texts.append(model.generate({"prompt": prompt, "max_tokens": 12, "temperature": 0}))
            echo = model.echo(prompt, 12)
            assert echo.generated == texts[-1]
            bare = {"prompt": prompt, "max_tokens": 12, "temperature": 0, "model": "tuned"}
            served = model.endpoint.completion(bare)["choices"][0]["text"]
    assert texts[0] == texts[1] != served


def test_unnamed_settings_that_a_service_rejects_are_left_out_together(folders):
    def strict(n, body):
        if body and (NEUTRAL.keys() | {"top_k"}) & body.keys():
            return 422, {"detail": [{"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}]}
        return None

    with StandIn(folders("llama"), fail=strict) as server:
        found = byheart.audit_endpoint(server.url, "tuned", *SIDES, attacks=FEW, fpr=0.2)
    assert any("rejects frequency_penalty, presence_penalty, repetition_penalty" in w for w in found.warnings)


@pytest.mark.parametrize("spell", [("", "", " 🍕"), (" \ufffd", "\ufffd", "\ufffd"), (" ", "", "")])
def test_parts_of_a_prompts_last_character_are_not_scored(folders, spell):
    """The three ways in which servers spell a character of several tokens: vLLM, a tokenizer's own, llama-cpp-python."""
    tokens = ["Eat", *spell, " now", " please", "."]
    listed = answer(tokens, [None, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0], text="Eat 🍕 now please.")
    with StandIn(folders("llama"), fail=lambda _, body: body and (lambda _: listed)) as server:
        scored = EndpointModel(Endpoint(server.url), "tuned", 64).score(("a", "Eat 🍕", " now please"))
    assert scored.tokens == (" now", " please")
    assert np.array_equal(scored.logp, [-4.0, -5.0])
