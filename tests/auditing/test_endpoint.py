"""An audit of a model behind a server: its numbers are those of the weights, bad input is one line, nothing is left half done."""

import json
import time

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.attacks.loss import loss
from byheart.auditing.server import client, evidence
from byheart.auditing.server.echo import parse_echo
from byheart.core import registry
from byheart.core.errors import DataError, ModelError, SettingError
from byheart.core.types import LogProbs, TokenStats
from testing.stand_in_server import StandIn

WHO = ("The old sailor wrote", "A young doctor sang", "My tall painter ran", "One quiet pilot fell", "Her nurse slept")
WHERE = ("to the queen", "for a baker", "near Lisbon", "with the judge", "at the sea", "by Minsk", "in Zoë's café 🍕")
TEXTS = [f"{who} {where}, {what}." for who in WHO for where in WHERE for what in ("alone", "at noon")]
ORDER = np.random.default_rng(0).permutation(len(TEXTS))
MEMBERS, NONMEMBERS = [TEXTS[i] for i in ORDER[:24]], [TEXTS[i] for i in ORDER[24:48]]
VALIDATION = [TEXTS[i] for i in ORDER[48:]]
FEW = ["loss"]


@pytest.fixture(autouse=True)
def _in_no_hurry_to_wait(monkeypatch):
    monkeypatch.setattr(client.RequestLimits, "wait", 0.01, raising=False)
    monkeypatch.setattr(client, "LONGEST_WAIT", 0.05)
    monkeypatch.delenv(client.API_KEY_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def folders(tiny_folder, tmp_path_factory):
    """A base and a model that is not it, by architecture: llama's tokenizer adds no BOS, gemma's does."""

    def both(name):
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_pretrained(tiny_folder(name))
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
        folder = tmp_path_factory.mktemp(f"{name}-tuned")
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_folder(name)).save_pretrained(folder)
        return {"base": str(tiny_folder(name)), "tuned": str(folder)}

    made = {}
    return lambda name: made.setdefault(name, None) or made.update({name: both(name)}) or made[name]


def weights(folders, members=MEMBERS, nonmembers=NONMEMBERS, **asked):
    base, tuned = (AutoModelForCausalLM.from_pretrained(folders[n]) for n in ("base", "tuned"))
    tokenizer = AutoTokenizer.from_pretrained(folders["tuned"])
    return byheart.audit(tuned, tokenizer, members, nonmembers, base=base, **asked)


@pytest.mark.parametrize(("name", "bos"), [("llama", False), ("gemma", True)])
def test_scores_are_those_of_the_weights(folders, name, bos):
    attacks = ["loss", "min_k", "reference", "zlib_ratio", "wbc", "lowercase"]
    asked = {"attacks": attacks, "validation": VALIDATION}
    own = weights(folders(name), **asked)
    with StandIn(folders(name), bos=bos) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, base_name="base", **asked)
    for epoch in (0, 1):
        for attack in attacks:
            np.testing.assert_allclose(
                found.scores[epoch][attack], own.scores[epoch][attack], atol=2e-4, err_msg=attack
            )
    assert found.ruling.word == own.ruling.word
    ours, theirs = ({(r.attack, r.metric, r.epoch): r.value for r in a.rows} for a in (own, found))
    assert theirs == pytest.approx(ours, rel=1e-3)
    assert ("", "perplexity", 1) in theirs
    assert found.provenance["weights"].keys() == {"base", "tuned"}


def test_without_held_out_texts_there_are_scores_and_no_rate(folders):
    base, tuned = (AutoModelForCausalLM.from_pretrained(folders("llama")[n]) for n in ("base", "tuned"))
    tokenizer = AutoTokenizer.from_pretrained(folders("llama")["tuned"])
    own = byheart.audit(tuned, tokenizer, MEMBERS, base=base, attacks=["loss", "reference"])
    with StandIn(folders("llama")) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, base_name="base", attacks=["loss", "reference"])
    assert found.ruling == own.ruling
    np.testing.assert_allclose(found.scores[1]["reference"], own.scores[1]["reference"], atol=2e-4)


def test_answers_like_llama_cpps_are_read_without_the_first_token(folders):
    model, tokenizer = (c.from_pretrained(folders("gemma")["tuned"]) for c in (AutoModelForCausalLM, AutoTokenizer))
    stats = byheart.token_stats(model, tokenizer, MEMBERS + NONMEMBERS)
    later = [stats.logp[lo + 1 : hi].mean() for lo, hi in zip(stats.starts[:-1], stats.starts[1:], strict=True)]
    with StandIn(folders("gemma"), like="llama_cpp", bos=True) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    np.testing.assert_allclose(found.scores[1]["loss"], later, atol=2e-4)


def test_numbers_one_token_off_are_refused(folders):
    """As llama-cpp-python gives them where its model's tokenizer adds no BOS."""
    with (
        StandIn(folders("llama"), like="llama_cpp") as server,
        pytest.raises(ModelError, match=r"one token off.*add_bos_token"),
    ):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    with (
        StandIn(folders("llama"), fail=lambda n, body: body and early) as server,
        pytest.raises(ModelError, match="one token off"),
    ):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)


def early(answer):
    """Put each place's likeliest token one place too early, all tokens listed."""
    listed = answer["choices"][0]["logprobs"]
    listed["top_logprobs"] = [None, *listed["top_logprobs"][2:], {"?": -0.001}]
    listed["token_logprobs"][-1] = -9.0
    return answer


def test_only_the_completion_is_scored_and_as_much_of_it_as_of_the_weights(folders):
    sides = [[("It is said:", f" {t}") for t in side] for side in (MEMBERS, NONMEMBERS)]
    own = weights(folders("llama"), *sides, attacks=FEW)
    with StandIn(folders("llama")) as server:
        found = byheart.audit_endpoint(server.url, "tuned", *sides, attacks=FEW)
    np.testing.assert_allclose(found.scores[1]["loss"], own.scores[1]["loss"], atol=2e-4)


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_a_text_is_cut_where_the_weights_cut_it(folders, name):
    own = weights(folders(name), attacks=["loss", "zlib_ratio"], max_tokens=9)
    with StandIn(folders(name), bos=name == "gemma") as server:
        found = byheart.audit_endpoint(
            server.url, "tuned", MEMBERS, NONMEMBERS, attacks=["loss", "zlib_ratio"], max_tokens=9
        )
    np.testing.assert_allclose(found.scores[1]["loss"], own.scores[1]["loss"], atol=2e-4)
    np.testing.assert_allclose(found.scores[1]["zlib_ratio"], own.scores[1]["zlib_ratio"], atol=2e-4)
    assert found.provenance["texts"]["cut"] == own.provenance["texts"]["cut"] > 0


def test_a_text_that_the_context_cannot_hold_loses_its_end(folders):
    with StandIn(folders("llama"), context=20) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
        assert found.provenance["texts"]["cut"] > 40
        assert "read in part" in " ".join(found.warnings)
        sides = [[("word " * 40, t) for t in side] for side in (MEMBERS, NONMEMBERS)]
        with pytest.raises(DataError, match="leaves no room"):
            byheart.audit_endpoint(server.url, "tuned", *sides, attacks=FEW)


def test_all_runs_what_answers_suffice_for_and_names_the_rest(folders):
    with StandIn(folders("llama"), context=100) as server:
        found = byheart.audit_endpoint(
            server.url, "tuned", MEMBERS[:4], NONMEMBERS[:4], base_name="base", attacks="all"
        )
        alone = byheart.audit_endpoint(server.url, "tuned", MEMBERS[:4], NONMEMBERS[:4], attacks=["loss", "reference"])
        with pytest.raises(DataError, match="none of the attacks can be run: surp needs the model's whole"):
            byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=["surp"])
    assert set(found.scores[1]) | set(found.left_out) == set(registry.entry_names("attacks"))
    assert {"loss", "reference", "min_k", "zlib_ratio", "wbc", "lowercase", "samia"} <= set(found.scores[1])
    assert "whole next-token distribution" in found.left_out["min_k_plus_plus"]
    assert "base-name" in alone.left_out["reference"]
    assert set(alone.scores) == {1}


def test_attacks_that_ask_for_log_probabilities_need_nothing_else():
    """What decides which attacks a server suffices for are their annotations, so these must be true."""
    chance = np.random.default_rng(0)
    starts = np.arange(7) * 40
    for name in registry.entry_names("attacks"):
        attack = registry.choose("attacks", name)
        said = {n: evidence._annotation_name(attack.function.__annotations__[n]) for n in attack.needs}
        if not set(said.values()) <= {"LogProbs", "TokenStats"}:
            continue
        whole = {}
        for need in attack.needs:
            logp, rest = chance.exponential(size=240), chance.exponential(size=(3, 240))
            whole[need] = TokenStats(
                logp=-logp,
                starts=starts,
                mean=-rest[0],
                std=rest[1],
                entropy=rest[2],
                rank=chance.integers(9, size=240),
            )
        bare = {n: LogProbs(logp=s.logp, starts=s.starts) if said[n] == "LogProbs" else s for n, s in whole.items()}
        if "TokenStats" not in said.values():
            np.testing.assert_array_equal(attack(*bare.values()), attack(*whole.values()), err_msg=name)


def test_an_attack_that_does_not_say_what_it_takes_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "unsaid.py").write_text("def odd(target):\n    return target.mean\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    attacks = {n: registry.choose("attacks", n) for n in ("loss", "unsaid:odd")}
    assert "annotate" in evidence.servable_attacks(attacks, base=False)[1]["unsaid:odd"]


def at_first(passing):
    """A fault of the first attempt of every request, however many threads ask."""
    tried = set()

    def first(number, body):
        asked = body["prompt"] if body else ""
        known, _ = asked in tried, tried.add(asked)
        return None if known else passing

    return first


@pytest.mark.parametrize(
    "passing", [(429, {"error": "slow down"}, {"Retry-After": "0"}), (500, "oops"), (503, "<html>"), "hang up"]
)
def test_what_may_pass_is_tried_again(folders, passing):
    with StandIn(folders("llama"), fail=at_first(passing)) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
        assert len(server.requests) == found.provenance["settings"]["requests"] > 100
    with StandIn(folders("llama")) as server:
        calm = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    np.testing.assert_array_equal(found.scores[1]["loss"], calm.scores[1]["loss"])


def test_waits_double_and_heed_the_server(folders, monkeypatch):
    waits = []
    monkeypatch.setattr(client, "LONGEST_WAIT", 30.0)
    with StandIn(
        folders("llama"), fail=lambda n, body: (503, "no", {"Retry-After": "7"}) if n == 2 else (503, "no")
    ) as server:
        asked = client.Endpoint(server.url, client.RequestLimits(wait=1.0))
        monkeypatch.setattr(asked._closed, "wait", waits.append)
        with pytest.raises(ModelError, match=r"answers 503: no \(5 attempts\)"):
            asked.models()
    assert [low <= w <= 1.25 * low for w, low in zip(waits, (1, 2, 7, 14), strict=True)] == [True] * 4
    assert asked.requests_sent == len(server.requests) == client.MAX_ATTEMPTS


def test_requests_are_limited(folders):
    with StandIn(folders("llama")) as server:
        with pytest.raises(SettingError, match="takes about 52 requests, and 51 are allowed"):
            byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW, max_requests=51)
        assert not server.requests
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW, max_requests=52)
    with StandIn(folders("llama"), fail=at_first((500, "no"))) as server:
        with pytest.raises(ModelError, match="60 requests were sent"):
            byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW, max_requests=60)
        assert len(server.requests) == 60


@pytest.fixture
def command(typed_audit, tmp_path):
    """A function that runs `byheart audit` on a server as a person types it, and gives exit code, output and complaints."""
    for side, texts in (("members", MEMBERS), ("nonmembers", NONMEMBERS)):
        (tmp_path / f"{side}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))

    def run(url, *words, attacks="loss"):
        files = [w for s in ("members", "nonmembers") for w in (f"--{s}", str(tmp_path / f"{s}.jsonl"))]
        return typed_audit("--endpoint", url, *words, *files, "--attacks", attacks, "-o", tmp_path / "out")

    run.folder = tmp_path
    return run


def changed(**parts):
    """A fault that changes the log-probabilities of every completion."""

    def change(answer):
        answer["choices"][0]["logprobs"] |= {
            n: f(answer["choices"][0]["logprobs"][n]) if callable(f) else f for n, f in parts.items()
        }
        return answer

    return lambda n, body: change if body else None


def without_prompt(answer):
    """Log-probabilities of what is written only, as llama.cpp's own server gives them."""
    answer["choices"][0]["logprobs"] = {n: v[-1:] for n, v in answer["choices"][0]["logprobs"].items()}
    return answer


def cut_short(answer):
    """What a server that reads a part of its prompt says."""
    listed = answer["choices"][0]["logprobs"]
    answer["choices"][0]["logprobs"] = {n: [*v[:4], v[-1]] for n, v in listed.items()}
    return answer


FAULTS = {
    "no logprobs": (
        lambda n, body: body and (lambda a: {**a, "choices": [{"text": "x", "logprobs": None}]}),
        "gives no log-prob",
    ),
    "no choices": (lambda n, body: body and (lambda a: {"object": "text_completion"}), "gives no log-probabilities"),
    "only written": (lambda n, body: body and without_prompt, "only of what it writes"),
    "null": (changed(token_logprobs=lambda v: [None] * len(v)), "gives no log-probabilities of what it reads"),
    "cut": (lambda n, body: body and cut_short, "reads only the first"),
    "other tokens": (changed(tokens=lambda v: [t.lower() for t in v]), "do not join to the text"),
    "positive": (changed(token_logprobs=lambda v: [x and -x for x in v]), "above 0"),
    "not finite": (changed(token_logprobs=lambda v: [x and float("nan") for x in v]), "not finite"),
    "strings": (changed(token_logprobs=lambda v: ["-1"] * len(v)), "no numbers"),
    "lengths": (changed(tokens=lambda v: v[1:]), "gives no log-probabilities"),
    "html": (lambda n, body: (200, "<html><body>Welcome</body></html>"), "with what is not JSON: <html>"),
    "garbage": (lambda n, body: body and (200, '{"choices": ['), "what is not JSON"),
    "list": (lambda n, body: (200, [1]), "answers GET /models with a list"),
    "echo refused": (
        lambda n, body: body and (400, {"error": {"message": "Only no echo is supported"}}),
        "400 to POST /completions: Only",
    ),
    "down": (lambda n, body: "hang up", "cannot be reached"),
    "always 500": (
        lambda n, body: body and (500, {"detail": [{"msg": "bad", "input": MEMBERS[0]}]}),
        "answers 500: bad (5",
    ),
    "slow": (lambda n, body: 9.0, "no answer within 0.3 seconds"),
    "drips": (lambda n, body: "drip", "no answer within 0.3 seconds"),
    "elsewhere": (lambda n, body: (307, "", {"Location": "http://127.0.0.1:9/v1"}), "answers 307"),
    "forbidden": (
        lambda n, body: (403, {"error": {"message": "no"}}),
        "refuses the key (403: no); set BYHEART_API_KEY",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_is_one_line_and_leaves_nothing(folders, command, fault):
    fail, says = FAULTS[fault]
    with StandIn(folders("llama"), fail=fail) as server:
        told = command(server.url, "--model-name", "tuned", "--timeout", "0.3" if "0.3" in says else "30")
    assert says in refusal(told)
    assert MEMBERS[0] not in told[2]
    assert {p.name for p in command.folder.iterdir()} == {"members.jsonl", "nonmembers.jsonl"}


def refusal(told):
    """The one line that a refusal is."""
    code, out, complaints = told
    lines = [line for line in complaints.splitlines() if line.startswith("byheart:")]
    assert (code, len(lines), out) == (2, 1, "")
    assert "Traceback" not in complaints
    return lines[0]


def test_a_server_that_fails_halfway_leaves_nothing(folders, command):
    with StandIn(folders("llama"), fail=lambda n, body: (400, {"error": "gone"}) if n > 30 else None) as server:
        assert "answers 400 to POST /completions: gone" in refusal(command(server.url, "--model-name", "tuned"))
        assert len(server.requests) < 40  # what was not under way is not sent any more
    assert not (command.folder / "out").exists()


def test_a_failure_does_not_wait_for_what_waits(folders, monkeypatch):
    monkeypatch.setattr(client, "LONGEST_WAIT", 30.0)

    def failing(number, body):
        if not body or number < 3:  # the list of models, and the first text twice
            return None
        return (400, {"error": "gone"}) if body["prompt"] == MEMBERS[0] else (503, "busy", {"Retry-After": "30"})

    began = time.monotonic()
    with StandIn(folders("llama"), fail=failing) as server, pytest.raises(ModelError, match="gone"):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{}", "--model-name", "tunde"), "'tunde' is not known; did you mean 'tuned'?"),
        (("{}",), "write --model-name"),
        (("{}", "--model-name", "tuned", "--base-name", "tuned"), "is the model itself"),
        (("{}", "--model-name", "tuned", "--model", "x"), "takes the place of weights"),
        (("{}", "--model-name", "tuned", "--base", "x"), "--base-name"),
        (("{}", "--model-name", "tuned", "--timeout", "0"), "timeout = 0"),
        (("{}", "--model-name", "tuned", "--tokenizer", "/gone/away"), "does not exist"),
        (("http://127.0.0.1:9", "--model-name", "tuned"), "cannot be reached"),
        (("ftp://here/v1", "--model-name", "tuned"), "is no URL"),
        (("http://", "--model-name", "tuned"), "is no URL"),
        (("", "--model-name", "tuned"), "is no URL"),
    ],
)
def test_wrong_words_are_refused_in_one_line(folders, command, words, says):
    with StandIn(folders("llama")) as server:
        told = command(words[0].format(server.url), *words[1:])
    assert says in refusal(told)
    assert not (command.folder / "out").exists()


def test_keys_come_from_the_environment_and_are_never_shown(folders, command, monkeypatch):
    key = "sk-very-secret"
    for url in (f"http://me:{key}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={key}"):
        told = command(url, "--model-name", "tuned")
        assert "a user, a password or a query" in refusal(told)
        assert key not in "".join(told[1:])
    with StandIn(folders("llama"), key=key) as server:
        assert "refuses the key" in refusal(command(server.url, "--model-name", "tuned"))
        monkeypatch.setenv(client.API_KEY_VARIABLE, f"{key}-not")
        told = command(server.url, "--model-name", "tuned")
        assert "Invalid: Bearer ***" in refusal(told)
        monkeypatch.setenv(client.API_KEY_VARIABLE, "two lines\n of a key")
        assert "holds characters" in refusal(command(server.url, "--model-name", "tuned"))
        monkeypatch.setenv(client.API_KEY_VARIABLE, key)
        told = command(server.url, "--model-name", "tuned", "--base-name", "base")
    assert told[0] == 0
    everything = b"".join(p.read_bytes() for p in (command.folder / "out").iterdir())
    assert key not in "".join(told[1:])
    assert key.encode() not in everything
    manifest = json.loads((command.folder / "out" / "manifest.json").read_text())
    assert manifest["made"]["model"] == f"tuned behind {server.url}"


def test_what_is_doubtful_is_said(folders):
    jitter = np.random.default_rng(0)
    shaken = changed(token_logprobs=lambda v: [x and x - abs(jitter.normal()) for x in v[:-1]] + v[-1:])
    with StandIn(folders("llama"), fail=shaken) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    assert "other log-probabilities when it is sent again" in found.warnings[0]
    with StandIn(folders("llama"), fail=lambda n, body: None if body else (404, "Not Found")) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    assert "lists no models" in found.warnings[0]


def test_a_base_of_other_tokens_and_a_base_of_the_same_weights_are_refused(folders, tiny_folder):
    same = {"base": folders("llama")["base"], "tuned": folders("llama")["base"]}
    with StandIn(same) as server, pytest.raises(ModelError, match="exactly what its base says"):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, base_name="base", attacks=FEW)

    def apart(number, body):
        if not body or body["model"] == "tuned":
            return None

        def joined(answer):
            listed = answer["choices"][0]["logprobs"]
            listed["tokens"][1:3] = ["".join(listed["tokens"][1:3])]
            del listed["token_logprobs"][2], listed["top_logprobs"][2]
            return answer

        return joined

    with StandIn(folders("llama"), fail=apart) as server, pytest.raises(ModelError, match="other tokens"):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, base_name="base", attacks=FEW)


def test_chats_need_the_models_tokenizer(folders):
    tokenizer = AutoTokenizer.from_pretrained(folders("llama")["tuned"])
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    sides = [
        [{"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": t}]} for t in side]
        for side in (MEMBERS, NONMEMBERS)
    ]
    with StandIn(folders("llama")) as server:
        with pytest.raises(DataError, match="--tokenizer"):
            byheart.audit_endpoint(server.url, "tuned", *sides, attacks=FEW)
        found = byheart.audit_endpoint(server.url, "tuned", *sides, tokenizer=tokenizer, attacks=FEW)
    model = AutoModelForCausalLM.from_pretrained(folders("llama")["tuned"])
    own = byheart.audit(model, tokenizer, *sides, attacks=FEW)
    np.testing.assert_allclose(found.scores[1]["loss"], own.scores[1]["loss"], atol=2e-4)


def answer(tokens, logp, *, text, written=1, read=None):
    """What a server answers."""
    listed = {"tokens": tokens, "token_logprobs": logp, "top_logprobs": [None] * len(tokens)}
    usage = {"prompt_tokens": len(tokens) - written if read is None else read, "completion_tokens": written}
    return {"choices": [{"text": text, "logprobs": listed}], "usage": usage}


def laid(tokens, sent, **asked):
    logp = [None, *(-float(i) for i in range(1, len(tokens)))]
    return parse_echo(answer(tokens, logp, text=sent + tokens[-1], **asked), sent)


@pytest.mark.parametrize(
    ("tokens", "sent", "begins"),
    [
        (["The", " cat", " sat"], "The cat", [0, 3]),
        (["Z", "o", "ë", " ate", " ", "", "", " now", ","], "Zoë ate 🍕 now", None),
        (["caf", "\ufffd", "\ufffd", " x", "!"], "café x", None),
        ([" The", " cat", "!"], "The cat", [0, 3]),  # a space that a tokenizer puts before every text
        (["The", "cat", "!"], "The cat", [0, 3]),  # a decoder that loses spaces
        (["user", "\n", "Hi", "", "\n", "I"], "<|im_start|>user\nHi<|im_end|>\n", [0, 16, 17, 19, 29]),
        (["", "", "本", "", "", "の"], "日本語", None),
    ],
)
def test_tokens_are_laid_along_the_text_however_they_are_spelt(tokens, sent, begins):
    found = laid(tokens, sent)
    assert found.tokens == tuple(tokens[:-1])
    assert (np.diff(found.token_starts) >= 0).all()
    assert begins is None or found.token_starts.tolist() == begins
    assert np.isnan(found.logp[0])
    assert found.logp[1:].tolist() == [-float(i) for i in range(1, len(tokens) - 1)]


def test_a_listed_bos_is_no_token_of_the_text_and_a_hidden_one_is_counted():
    found = laid(["<s>", "The", " cat", " sat"], "The cat")
    assert (found.tokens, found.leading_tokens, found.logp.tolist()) == (("The", " cat"), 1, [-1.0, -2.0])
    assert laid(["The", " cat", " sat"], "The cat", read=3).leading_tokens == 1


def test_numbers_without_a_listed_bos_are_kept_for_the_first_token():
    found = parse_echo(answer(["The", " cat", " sat"], [-4.0, -1.0, -2.0], text="The cat sat", read=3), "The cat")
    assert found.logp.tolist() == [-4.0, -1.0]
    assert loss(LogProbs(logp=found.logp, starts=np.array([0, 2]))).tolist() == [-2.5]


def test_a_written_character_of_several_tokens_and_a_model_that_ends_are_read():
    found = parse_echo(
        answer(["a", " b", "", "", ""], [None, -1.0, -2.0, -2.0, -2.0], text="a b🍕", written=3, read=2), "a b"
    )
    assert found.logp[1:].tolist() == [-1.0]
    assert not found.is_alignment_confirmed
    ended = parse_echo(answer(["a", " b"], [None, -1.0], text="a b", written=0), "a b")
    assert (len(ended.logp), ended.is_alignment_confirmed) == (2, False)
    with pytest.raises(ModelError, match="one token off"):
        parse_echo(answer(["a", " b"], [None, -1.0], text="a b c", written=1, read=2), "a b")
