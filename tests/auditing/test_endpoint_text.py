"""A server without log-probabilities of prompts is audited by its generated text; other attacks are named."""

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.server import generated_text
from byheart.core.errors import DataError, ModelError, SettingError
from byheart.core.types import Texts
from testing.served_texts import MEMBERS, NONMEMBERS
from testing.stand_in_server import StandIn

pytestmark = pytest.mark.usefixtures("short_waits")
SIDES = (MEMBERS[:6], NONMEMBERS[:6])
PAIRS = [[(t[: len(t) // 2], t[len(t) // 2 :]) for t in side] for side in SIDES]


def text_only(n, body):
    """As llama.cpp's server and Ollama answer: without numbers of the prompt."""

    def bare(answer):
        choice = answer["choices"][0]
        choice["text"] = choice["text"].removeprefix(body["prompt"])
        return {**answer, "choices": [{**choice, "logprobs": None}]}

    return body and bare


def chat_only(n, body):
    return (404, {"detail": "Not Found"}) if body and "prompt" in body else None


@pytest.mark.parametrize("fail", [text_only, chat_only])
def test_a_text_only_service_runs_the_attacks_on_text(folders, tmp_path, fail):
    with StandIn(folders("llama"), fail=fail) as server:
        found = byheart.audit_endpoint(server.url, "tuned", *SIDES, fpr=0.2)
    assert set(found.scores[1]) == {"samia"}
    assert set(found.extractions[1]) == {"discoverable", "approximate"}
    assert "log-probabilities" in found.left_out["loss"]
    assert "attacks on generated text ran" in found.warnings[0]
    assert ("user's message" in found.warnings[0]) == (fail is chat_only)
    found.save(tmp_path / "out", show_text=True)
    assert not any(r.metric == "perplexity" for r in found.rows)


def half_characters(n, body):
    """Answer as a server that cuts a text inside a character: JSON then has half of a surrogate pair."""

    def cut(answer):
        answer = text_only(n, body)(answer)
        for choice in answer["choices"]:
            choice["text"] = f"\ud83d {choice['text']}"
        return answer

    return body and cut


def test_a_text_that_ends_inside_a_character_is_audited_and_saved(folders, tmp_path):
    with StandIn(folders("llama"), fail=half_characters) as server:
        found = byheart.audit_endpoint(server.url, "tuned", *SIDES, fpr=0.2)
    assert set(found.extractions[1]) == {"discoverable", "approximate"}
    found.save(tmp_path / "out", show_text=True)


def test_extractions_equal_those_of_the_weights(folders):
    model, tokenizer = (c.from_pretrained(folders("llama")["tuned"]) for c in (AutoModelForCausalLM, AutoTokenizer))
    text = MEMBERS[0]
    # A member that the model generates: its own continuation.
    ids = tokenizer(text[: text.index(" ", 12)], return_tensors="pt", add_special_tokens=False)["input_ids"]
    known = tokenizer.decode(model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0])
    first = text[: text.index(" ", 12)]
    members = [(first, known[len(first) :]), *PAIRS[0]]
    with StandIn(folders("llama"), fail=text_only) as server:
        found = byheart.audit_endpoint(
            server.url, "tuned", members, PAIRS[1], attacks=["samia", "discoverable"], fpr=0.2
        )
    assert found.extractions[1]["discoverable"].extracted.tolist()[:2] == [True, False]


def test_explicit_attacks_that_need_more_are_refused_with_the_possible_ones(folders):
    with StandIn(folders("llama"), fail=text_only) as server:
        with pytest.raises(ModelError, match=r"--attacks samia,discoverable,approximate"):
            byheart.audit_endpoint(server.url, "tuned", *SIDES, attacks=["loss"], fpr=0.2)
        with pytest.raises(SettingError, match="such as samia"):
            byheart.audit_endpoint(server.url, "tuned", *SIDES, attacks=["discoverable"], fpr=0.2)


def test_settings_that_a_service_rejects_are_left_out_and_named(folders):
    def strict(n, body):
        if body and "top_k" in body:
            return 400, {"error": {"message": "Unrecognized request argument supplied: top_k"}}
        return text_only(n, body)

    with StandIn(folders("llama"), fail=strict) as server:
        found = byheart.audit_endpoint(server.url, "tuned", *SIDES, attacks=["samia"], fpr=0.2)
    assert any("rejects top_k" in w for w in found.warnings)


def test_members_alone_get_no_verdict_and_empty_answers_are_refused(folders):
    with StandIn(folders("llama"), fail=text_only) as server:
        found = byheart.audit_endpoint(server.url, "tuned", SIDES[0], attacks=["samia", "discoverable"])
    assert found.ruling.word == "uncompared"

    def silent(n, body):
        return body and (lambda a: {"choices": [{"text": ""}]})

    with (
        StandIn(folders("llama"), fail=silent) as server,
        pytest.raises(ModelError, match="generates no text"),
    ):
        byheart.audit_endpoint(server.url, "tuned", *SIDES, attacks=["samia"], fpr=0.2)


def test_texts_are_divided_into_words_of_any_script():
    texts = Texts(("a", "b", "c"), ("One, two three.", "東京は雨です", "and more"), ("", "", "Prompt "))
    parts = generated_text.divided(texts, prefix=None, suffix=None, max_words=100)
    assert [(p.first, p.second) for p in parts] == [
        ("One,", "two three."),
        ("東京は", "雨です"),
        ("Prompt ", "and more"),
    ]
    with pytest.raises(DataError, match="too few words"):
        generated_text.divided(Texts(("a",), ("one",)), prefix=None, suffix=None, max_words=9)
    assert np.array_equal(generated_text.WORD.findall("naïve—12 %"), ["naïve", "—", "12", "%"])
