"""A failing server: temporary failures are retried, others are one line, and keys are never shown."""

import json
import time

import numpy as np
import pytest

import byheart
from byheart.auditing.server import client, served_model
from byheart.core.errors import ModelError, SettingError
from testing.served_texts import FEW, MEMBERS, NONMEMBERS, changed
from testing.stand_in_server import StandIn

pytestmark = pytest.mark.usefixtures("short_waits")


def at_first(passing):
    """A failure of the first attempt of every request, with any number of threads."""
    tried = set()

    def first(number, body):
        requested = body["prompt"] if body else ""
        known, _ = requested in tried, tried.add(requested)
        return None if known else passing

    return first


@pytest.mark.parametrize(
    "passing", [(429, {"error": "slow down"}, {"Retry-After": "0"}), (500, "oops"), (503, "<html>"), "hang up"]
)
def test_temporary_failures_are_retried(folders, passing):
    with StandIn(folders("llama"), fail=at_first(passing)) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
        assert len(server.requests) == found.provenance["settings"]["requests"] > 100
    with StandIn(folders("llama")) as server:
        calm = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    np.testing.assert_array_equal(found.scores[1]["loss"], calm.scores[1]["loss"])


def test_waiting_times_double_and_follow_the_server(folders, monkeypatch):
    waits = []
    monkeypatch.setattr(client, "LONGEST_WAIT", 30.0)
    with StandIn(
        folders("llama"), fail=lambda n, body: (503, "no", {"Retry-After": "7"}) if n == 2 else (503, "no")
    ) as server:
        requested = client.Endpoint(server.url, client.RequestLimits(wait=1.0))
        monkeypatch.setattr(requested._closed, "wait", waits.append)
        with pytest.raises(ModelError, match=r"503: no \(5 attempts\)"):
            requested.models()
    assert [low <= w <= 1.25 * low for w, low in zip(waits, (1, 2, 7, 14), strict=True)] == [True] * 4
    assert requested.requests_sent == len(server.requests) == client.MAX_ATTEMPTS


def test_requests_are_limited(folders, monkeypatch):
    with StandIn(folders("llama")) as server:
        with pytest.raises(SettingError, match=r"\b51\b.*\b68 requests"):
            byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW, max_requests=51)
        assert not server.requests
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW, max_requests=68)
    # One thread: with several, requests that wait when the limit is reached are counted, and never sent.
    monkeypatch.setattr(served_model, "AT_ONCE", 1)
    with StandIn(folders("llama"), fail=at_first((500, "no"))) as server:
        with pytest.raises(ModelError, match=r"\b68\b.*--max-requests"):
            byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW, max_requests=68)
        assert len(server.requests) == 68


@pytest.fixture
def command(typed_audit, tmp_path):
    """A function that runs `byheart audit` on a server with typed arguments and returns exit code, output and errors."""
    for side, texts in (("members", MEMBERS), ("nonmembers", NONMEMBERS)):
        (tmp_path / f"{side}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))

    def run(url, *words, attacks="loss"):
        files = [w for s in ("members", "nonmembers") for w in (f"--{s}", str(tmp_path / f"{s}.jsonl"))]
        return typed_audit("--endpoint", url, *words, *files, "--attacks", attacks, "-o", tmp_path / "out")

    run.folder = tmp_path
    return run


def without_prompt(answer):
    """Log-probabilities of generated text only, as in the answers of llama.cpp's server."""
    answer["choices"][0]["logprobs"] = {n: v[-1:] for n, v in answer["choices"][0]["logprobs"].items()}
    return answer


def cut_short(answer):
    """The error of a server that reads a part of its prompt."""
    listed = answer["choices"][0]["logprobs"]
    answer["choices"][0]["logprobs"] = {n: [*v[:4], v[-1]] for n, v in listed.items()}
    return answer


FAULTS = {
    "no logprobs": (
        lambda n, body: body and (lambda a: {**a, "choices": [{"text": "x", "logprobs": None}]}),
        "no log-probabilities of what it reads",
    ),
    "no choices": (
        lambda n, body: body and (lambda a: {"object": "text_completion"}),
        "no log-probabilities of what it reads",
    ),
    "only written": (lambda n, body: body and without_prompt, "no log-probabilities of what it reads"),
    "null": (changed(token_logprobs=lambda v: [None] * len(v)), "no log-probabilities of what it reads"),
    "cut": (lambda n, body: body and cut_short, "reads only the first"),
    "other tokens": (changed(tokens=lambda v: [t.lower() for t in v]), "do not join"),
    "positive": (changed(token_logprobs=lambda v: [x and -x for x in v]), "above 0"),
    "not finite": (changed(token_logprobs=lambda v: [x and float("nan") for x in v]), "not finite"),
    "strings": (changed(token_logprobs=lambda v: ["-1"] * len(v)), "not numbers"),
    "lengths": (changed(tokens=lambda v: v[1:]), "no log-probabilities of what it reads"),
    "html": (lambda n, body: (200, "<html><body>Welcome</body></html>"), "not JSON: <html>"),
    "garbage": (lambda n, body: body and (200, '{"choices": ['), "not JSON"),
    "list": (lambda n, body: (200, [1]), "GET /models is a list"),
    "echo refused": (
        lambda n, body: body and (400, {"error": {"message": "Only no echo is supported"}}),
        "POST /completions returned status 400: Only",
    ),
    "down": (lambda n, body: "hang up", "cannot be reached"),
    "always 500": (
        lambda n, body: body and (500, {"detail": [{"msg": "bad", "input": MEMBERS[0]}]}),
        "500: bad (5",
    ),
    "slow": (lambda n, body: 9.0, "no answer within 0.3 seconds"),
    "drips": (lambda n, body: "drip", "no answer within 0.3 seconds"),
    "elsewhere": (lambda n, body: (307, "", {"Location": "http://127.0.0.1:9/v1"}), "307"),
    "forbidden": (
        lambda n, body: (403, {"error": {"message": "no"}}),
        "(403: no). Set BYHEART_API_KEY",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_server_gives_one_line_and_no_files(folders, command, fault):
    fail, says = FAULTS[fault]
    with StandIn(folders("llama"), fail=fail) as server:
        reported = command(server.url, "--model-name", "tuned", "--timeout", "0.3" if "0.3" in says else "30")
    assert says in refusal(reported)
    assert MEMBERS[0] not in reported[2]
    assert {p.name for p in command.folder.iterdir()} == {"members.jsonl", "nonmembers.jsonl"}


def refusal(reported):
    """The one-line error message."""
    code, out, complaints = reported
    lines = [line for line in complaints.splitlines() if line.startswith("byheart:")]
    assert (code, len(lines), out) == (2, 1, "")
    assert "Traceback" not in complaints
    return lines[0]


def test_a_server_that_fails_halfway_leaves_no_files(folders, command):
    with StandIn(folders("llama"), fail=lambda n, body: (400, {"error": "gone"}) if n > 30 else None) as server:
        assert "POST /completions returned status 400: gone" in refusal(command(server.url, "--model-name", "tuned"))
        assert len(server.requests) < 40  # requests that had not started are not sent
    assert not (command.folder / "out").exists()


def test_a_failure_does_not_wait_for_other_requests(folders, monkeypatch):
    monkeypatch.setattr(client, "LONGEST_WAIT", 30.0)

    def failing(number, body):
        if not body or body["prompt"] not in MEMBERS + NONMEMBERS:  # the list of models, and checks
            return None
        return (400, {"error": "gone"}) if body["prompt"] == MEMBERS[0] else (503, "busy", {"Retry-After": "30"})

    began = time.monotonic()
    with StandIn(folders("llama"), fail=failing) as server, pytest.raises(ModelError, match="gone"):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{}", "--model-name", "tunde"), "'tuned'"),
        (("{}",), "--model-name"),
        (("{}", "--model-name", "tuned", "--base-name", "tuned"), "--base-name tuned"),
        (("{}", "--model-name", "tuned", "--model", "x"), "--endpoint: cannot be combined with --model"),
        (("{}", "--model-name", "tuned", "--base", "x"), "--base-name"),
        (("{}", "--model-name", "tuned", "--timeout", "0"), "timeout = 0"),
        (("{}", "--model-name", "tuned", "--tokenizer", "/gone/away"), "/gone/away"),
        (("http://127.0.0.1:9", "--model-name", "tuned"), "cannot be reached"),
        (("ftp://here/v1", "--model-name", "tuned"), "is not an HTTP URL"),
        (("http://", "--model-name", "tuned"), "is not an HTTP URL"),
        (("", "--model-name", "tuned"), "is not an HTTP URL"),
    ],
)
def test_invalid_options_raise_an_error_in_one_line(folders, command, words, says):
    with StandIn(folders("llama")) as server:
        reported = command(words[0].format(server.url), *words[1:])
    assert says in refusal(reported)
    assert not (command.folder / "out").exists()


def test_keys_come_from_the_environment_and_are_never_shown(folders, command, monkeypatch):
    key = "sk-very-secret"
    for url in (f"http://me:{key}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={key}"):
        reported = command(url, "--model-name", "tuned")
        assert "a user, a password or a query" in refusal(reported)
        assert key not in "".join(reported[1:])
    with StandIn(folders("llama"), key=key) as server:
        assert client.API_KEY_VARIABLE in refusal(command(server.url, "--model-name", "tuned"))
        monkeypatch.setenv(client.API_KEY_VARIABLE, f"{key}-not")
        reported = command(server.url, "--model-name", "tuned")
        assert "Invalid: Bearer ***" in refusal(reported)
        monkeypatch.setenv(client.API_KEY_VARIABLE, "two lines\n of a key")
        assert f"{client.API_KEY_VARIABLE}: " in refusal(command(server.url, "--model-name", "tuned"))
        monkeypatch.setenv(client.API_KEY_VARIABLE, key)
        reported = command(server.url, "--model-name", "tuned", "--base-name", "base")
    assert reported[0] == 0
    everything = b"".join(p.read_bytes() for p in (command.folder / "out").iterdir())
    assert key not in "".join(reported[1:])
    assert key.encode() not in everything
    manifest = json.loads((command.folder / "out" / "manifest.json").read_text())
    assert manifest["made"]["model"] == f"tuned behind {server.url}"
