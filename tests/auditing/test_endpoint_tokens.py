"""Tokens of a server: aligned with the text, truncated as with the weights, without preceding tokens."""

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.attacks.loss import loss
from byheart.auditing.server.echo import parse_echo
from byheart.core.errors import DataError, ModelError
from byheart.core.types import LogProbs
from testing.served_texts import FEW, MEMBERS, NONMEMBERS, answer, weights
from testing.stand_in_server import StandIn

pytestmark = pytest.mark.usefixtures("short_waits")


def test_the_completion_is_scored_as_with_the_weights(folders):
    sides = [[("It is said:", f" {t}") for t in side] for side in (MEMBERS, NONMEMBERS)]
    own = weights(folders("llama"), *sides, attacks=FEW)
    with StandIn(folders("llama")) as server:
        found = byheart.audit_endpoint(server.url, "tuned", *sides, attacks=FEW)
    np.testing.assert_allclose(found.scores[1]["loss"], own.scores[1]["loss"], atol=2e-4)


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_a_text_is_truncated_as_with_the_weights(folders, name):
    own = weights(folders(name), attacks=["loss", "zlib_ratio"], max_tokens=9)
    with StandIn(folders(name), bos=name == "gemma") as server:
        found = byheart.audit_endpoint(
            server.url, "tuned", MEMBERS, NONMEMBERS, attacks=["loss", "zlib_ratio"], max_tokens=9
        )
    np.testing.assert_allclose(found.scores[1]["loss"], own.scores[1]["loss"], atol=2e-4)
    np.testing.assert_allclose(found.scores[1]["zlib_ratio"], own.scores[1]["zlib_ratio"], atol=2e-4)
    assert found.provenance["texts"]["cut"] == own.provenance["texts"]["cut"] > 0


def test_a_text_longer_than_the_context_loses_its_end(folders):
    with StandIn(folders("llama"), context=20) as server:
        found = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, attacks=FEW)
        assert found.provenance["texts"]["cut"] > 40
        assert "truncated" in " ".join(found.warnings)
        sides = [[("word " * 40, t) for t in side] for side in (MEMBERS, NONMEMBERS)]
        with pytest.raises(DataError, match="leaves no room"):
            byheart.audit_endpoint(server.url, "tuned", *sides, attacks=FEW)


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


def laid(tokens, sent, **requested):
    logp = [None, *(-float(i) for i in range(1, len(tokens)))]
    return parse_echo(answer(tokens, logp, text=sent + tokens[-1], **requested), sent)


@pytest.mark.parametrize(
    ("tokens", "sent", "begins"),
    [
        (["The", " cat", " sat"], "The cat", [0, 3]),
        (["Z", "o", "ë", " ate", " ", "", "", " now", ","], "Zoë ate 🍕 now", None),
        (["caf", "\ufffd", "\ufffd", " x", "!"], "café x", None),
        ([" The", " cat", "!"], "The cat", [0, 3]),  # a space that a tokenizer adds before every text
        (["The", "cat", "!"], "The cat", [0, 3]),  # a decoder that loses spaces
        (["user", "\n", "Hi", "", "\n", "I"], "<|im_start|>user\nHi<|im_end|>\n", [0, 16, 17, 19, 29]),
        (["", "", "本", "", "", "の"], "日本語", None),
    ],
)
def test_tokens_are_aligned_with_the_text_in_every_spelling(tokens, sent, begins):
    found = laid(tokens, sent)
    assert found.tokens == tuple(tokens[:-1])
    assert (np.diff(found.token_starts) >= 0).all()
    assert begins is None or found.token_starts.tolist() == begins
    assert np.isnan(found.logp[0])
    assert found.logp[1:].tolist() == [-float(i) for i in range(1, len(tokens) - 1)]


def test_a_listed_bos_is_not_scored_and_a_hidden_one_is_counted():
    found = laid(["<s>", "The", " cat", " sat"], "The cat")
    assert (found.tokens, found.leading_tokens, found.logp.tolist()) == (("The", " cat"), 1, [-1.0, -2.0])
    assert laid(["The", " cat", " sat"], "The cat", read=3).leading_tokens == 1


def test_without_a_listed_bos_the_first_token_is_scored():
    found = parse_echo(answer(["The", " cat", " sat"], [-4.0, -1.0, -2.0], text="The cat sat", read=3), "The cat")
    assert found.logp.tolist() == [-4.0, -1.0]
    assert loss(LogProbs(logp=found.logp, starts=np.array([0, 2]))).tolist() == [-2.5]


def test_characters_of_several_tokens_and_early_ends_are_parsed():
    found = parse_echo(
        answer(["a", " b", "", "", ""], [None, -1.0, -2.0, -2.0, -2.0], text="a b🍕", written=3, read=2), "a b"
    )
    assert found.logp[1:].tolist() == [-1.0]
    assert not found.is_alignment_confirmed
    ended = parse_echo(answer(["a", " b"], [None, -1.0], text="a b", written=0), "a b")
    assert (len(ended.logp), ended.is_alignment_confirmed) == (2, False)
    with pytest.raises(ModelError, match="add_bos_token"):
        parse_echo(answer(["a", " b"], [None, -1.0], text="a b c", written=1, read=2), "a b")
