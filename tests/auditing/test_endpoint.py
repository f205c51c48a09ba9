"""An audit of a model behind a server: its numbers equal the weights', errors are one line, no partial results remain."""

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.server import servable_attacks
from byheart.core import registry
from byheart.core.errors import DataError, ModelError
from byheart.core.types import LogProbs, TokenStats
from testing.served_texts import FEW, MEMBERS, NONMEMBERS, ORDER, TEXTS, changed, weights
from testing.stand_in_server import StandIn

pytestmark = pytest.mark.usefixtures("short_waits")


VALIDATION = [TEXTS[i] for i in ORDER[48:]]


@pytest.mark.parametrize(("name", "bos"), [("llama", False), ("gemma", True)])
def test_scores_equal_those_of_the_weights(folders, name, bos):
    attacks = ["loss", "min_k", "reference", "zlib_ratio", "wbc", "lowercase"]
    requested = {"attacks": attacks, "validation": VALIDATION}
    own = weights(folders(name), **requested)
    with StandIn(folders(name), bos=bos) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, base_name="base", **requested)
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


def test_without_nonmembers_there_are_scores_and_no_rate(folders):
    base, tuned = (AutoModelForCausalLM.from_pretrained(folders("llama")[n]) for n in ("base", "tuned"))
    tokenizer = AutoTokenizer.from_pretrained(folders("llama")["tuned"])
    own = byheart.audit(tuned, tokenizer, MEMBERS, base=base, attacks=["loss", "reference"])
    with StandIn(folders("llama")) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, base_name="base", attacks=["loss", "reference"])
    assert found.ruling == own.ruling
    np.testing.assert_allclose(found.scores[1]["reference"], own.scores[1]["reference"], atol=2e-4)


def test_answers_in_llama_cpps_format_lack_the_first_token(folders):
    model, tokenizer = (c.from_pretrained(folders("gemma")["tuned"]) for c in (AutoModelForCausalLM, AutoTokenizer))
    stats = byheart.token_stats(model, tokenizer, MEMBERS + NONMEMBERS)
    later = [stats.logp[lo + 1 : hi].mean() for lo, hi in zip(stats.starts[:-1], stats.starts[1:], strict=True)]
    with StandIn(folders("gemma"), like="llama_cpp", bos=True) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    np.testing.assert_allclose(found.scores[1]["loss"], later, atol=2e-4)


def test_numbers_shifted_by_one_token_raise_an_error(folders):
    """As in llama-cpp-python's answers for a model whose tokenizer adds no BOS."""
    with (
        StandIn(folders("llama"), like="llama_cpp") as server,
        pytest.raises(ModelError, match=r"off by one token.*add_bos_token"),
    ):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    with (
        StandIn(folders("llama"), fail=lambda n, body: body and early) as server,
        pytest.raises(ModelError, match="add_bos_token"),
    ):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)


def early(answer):
    """Put the most likely token of each position one position too early, with all tokens listed."""
    listed = answer["choices"][0]["logprobs"]
    listed["top_logprobs"] = [None, *listed["top_logprobs"][2:], {"?": -0.001}]
    listed["token_logprobs"][-1] = -9.0
    return answer


def test_all_selects_the_attacks_that_answers_allow_and_names_the_others(folders):
    with StandIn(folders("llama"), context=100) as server:
        found = byheart.audit_endpoint(
            server.url, "tuned", MEMBERS[:4], NONMEMBERS[:4], base_name="base", attacks="all"
        )
        alone = byheart.audit_endpoint(server.url, "tuned", MEMBERS[:4], NONMEMBERS[:4], attacks=["loss", "reference"])
        with pytest.raises(DataError, match=r"surp .*next-token distribution"):
            byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=["surp"])
    assert {"discoverable", "approximate"} == set(found.extractions[1]) == set(found.extractions[0])
    assert set(found.scores[1]) | set(found.extractions[1]) | set(found.left_out) == set(
        registry.entry_names("attacks")
    )
    assert {"loss", "reference", "min_k", "zlib_ratio", "wbc", "lowercase", "samia"} <= set(found.scores[1])
    assert "whole next-token distribution" in found.left_out["min_k_plus_plus"]
    assert "base-name" in alone.left_out["reference"]
    assert set(alone.scores) == {1}


def test_attacks_with_log_probabilities_need_no_other_evidence():
    """Annotations decide which attacks can use a server, so they must be correct."""
    chance = np.random.default_rng(0)
    starts = np.arange(7) * 40
    for name in registry.entry_names("attacks"):
        attack = registry.choose("attacks", name)
        stated = {n: registry.annotation_name(attack.function, n) for n in attack.needs}
        if not set(stated.values()) <= {"LogProbs", "TokenStats"}:
            continue
        complete = {}
        for need in attack.needs:
            logp, rest = chance.exponential(size=240), chance.exponential(size=(3, 240))
            complete[need] = TokenStats(
                logp=-logp,
                starts=starts,
                mean=-rest[0],
                std=rest[1],
                entropy=rest[2],
                rank=chance.integers(9, size=240),
            )
        bare = {
            n: LogProbs(logp=s.logp, starts=s.starts) if stated[n] == "LogProbs" else s for n, s in complete.items()
        }
        if "TokenStats" not in stated.values():
            np.testing.assert_array_equal(attack(*bare.values()), attack(*complete.values()), err_msg=name)


def test_an_attack_without_annotations_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "unsaid.py").write_text("def odd(target):\n    return target.mean\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    attacks = {n: registry.choose("attacks", n) for n in ("loss", "unsaid:odd")}
    assert "annotate" in servable_attacks.servable_attacks(attacks, base=False)[1]["unsaid:odd"]


def test_doubts_are_reported(folders):
    jitter = np.random.default_rng(0)
    shaken = changed(token_logprobs=lambda v: [x and x - abs(jitter.normal(scale=0.01)) for x in v[:-1]] + v[-1:])
    with StandIn(folders("llama"), fail=shaken) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    assert "sent again" in found.warnings[0]
    with StandIn(folders("llama"), fail=lambda n, body: None if body else (404, "Not Found")) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
    assert "lists no models" in found.warnings[0]


def test_a_base_of_other_tokens_and_a_base_of_the_same_weights_are_refused(folders, tiny_folder):
    same = {"base": folders("llama")["base"], "tuned": folders("llama")["base"]}
    with StandIn(same) as server, pytest.raises(ModelError, match="identical log-probabilities"):
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

    with StandIn(folders("llama"), fail=apart) as server, pytest.raises(ModelError, match="tokenize"):
        byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, base_name="base", attacks=FEW)
