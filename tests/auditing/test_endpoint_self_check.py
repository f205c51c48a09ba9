"""The self-check of a server: written greedily and read again, the same tokens have the same log-probabilities, and base and model differ."""

import pytest

import byheart
from byheart.core.errors import ModelError
from testing.served_texts import FEW, MEMBERS, NONMEMBERS
from testing.stand_in_server import StandIn

pytestmark = pytest.mark.usefixtures("short_waits")


def audited(server, **asked):
    return byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, **{"attacks": FEW, **asked})


def generated_numbers(change, *, only=None):
    """A fault that changes the log-probabilities of generated tokens (of the model `only`)."""

    def changed(answer):
        listed = answer["choices"][0]["logprobs"]
        own = len(listed["token_logprobs"]) - answer["usage"]["completion_tokens"]
        listed["token_logprobs"] = [
            x if i < own or x is None else change(x) for i, x in enumerate(listed["token_logprobs"])
        ]
        listed["top_logprobs"] = [
            top if i < own or top is None else {t: change(x) for t, x in top.items()}
            for i, top in enumerate(listed["top_logprobs"])
        ]
        return answer

    return lambda _, body: changed if body and (only is None or body["model"] == only) else None


def test_the_check_writes_greedily_and_reads_what_was_written(folders):
    with StandIn(folders("llama")) as server:
        audited(server)
        requests = [body for _, _, body in server.requests if body]
    written = [b for b in requests if b["max_tokens"] > 1]
    assert written
    assert {b["temperature"] for b in written} == {0}
    read = [b["prompt"] for b in requests if b["max_tokens"] == 1]
    assert all(any(p.startswith(b["prompt"]) and len(p) > len(b["prompt"]) for p in read) for b in written)


def test_the_base_model_is_checked_too(folders):
    fault = generated_numbers(lambda x: x - 2, only="base")
    with StandIn(folders("llama"), fail=fault) as server:
        with pytest.raises(ModelError, match="when base generates them"):
            audited(server, base_name="base")
        audited(server)


@pytest.mark.parametrize(("shift", "is_noticed"), [(0.1, True), (0.01, False)])
def test_a_small_difference_is_a_warning_and_rounding_is_none(shift, is_noticed, folders):
    with StandIn(folders("llama"), fail=generated_numbers(lambda x: x - shift)) as server:
        warnings = audited(server).warnings
    assert any("when it generates them and when it reads them (on average 0.1" in w for w in warnings) == is_noticed


def test_numbers_after_sampling_cannot_be_compared(folders):
    """As vLLM with processed log-probabilities: at temperature 0 the chosen token has the probability 1."""
    with StandIn(folders("llama"), fail=generated_numbers(lambda _: 0.0)) as server:
        warnings = audited(server).warnings
    assert any("log-probabilities of generated text are not comparable" in w for w in warnings)


def test_a_base_model_with_the_models_own_weights_is_refused(folders):
    tuned = folders("llama")["tuned"]
    with (
        StandIn({"base": tuned, "tuned": tuned}) as server,
        pytest.raises(ModelError, match="model and base"),
    ):
        audited(server, base_name="base")


def text_only(_, body):
    def bare(answer):
        choice = answer["choices"][0]
        return {
            **answer,
            "choices": [{**choice, "text": choice["text"].removeprefix(body["prompt"]), "logprobs": None}],
        }

    return body and bare


@pytest.mark.slow
def test_equal_text_of_model_and_base_is_a_warning_where_only_text_is_served(folders):
    sides = (MEMBERS[:6], NONMEMBERS[:6])
    asked = {"base_name": "base", "attacks": ["samia", "discoverable"], "fpr": 0.2}
    tuned = folders("llama")["tuned"]
    for served, is_noticed in (({"base": tuned, "tuned": tuned}, True), (folders("llama"), False)):
        with StandIn(served, fail=text_only) as server:
            found = byheart.audit_endpoint(server.url, "tuned", *sides, **asked)
        assert any("both names may serve the same weights" in w for w in found.warnings) == is_noticed


def test_an_answer_that_the_check_cannot_read_names_the_server(folders):
    def fault(path, body):
        return generated_numbers(lambda _: 5.0)(path, body) if body and body.get("max_tokens", 0) > 1 else None

    with (
        StandIn(folders("llama"), fail=fault) as server,
        pytest.raises(ModelError, match=f"^{server.url}: the log-probabilities are above 0"),
    ):
        audited(server)
