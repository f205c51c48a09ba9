"""Kinds of servers, as the stand-in simulates them, and the outcome of an audit of each."""

import re
from dataclasses import dataclass, field

import numpy as np
from transformers import AutoTokenizer

import byheart
from testing.adapters import attempt
from testing.served_texts import MEMBERS, NONMEMBERS, changed, weights
from testing.stand_in_server import StandIn

TEXTS = [[t for t in side if t.isascii()][:6] for side in (MEMBERS, NONMEMBERS)]
ATTACKS = ["loss", "samia"]
TOLERANCE = 2e-4


@dataclass(frozen=True)
class Kind:
    """A kind of server: the tiny model, how the stand-in answers, and the arguments of the audit.

    `fault` is a function of the folders that returns the stand-in's `fail`. With `same_weights`, both names serve the base model.
    """

    architecture: str = "llama"
    how: dict = field(default_factory=dict)
    fault: object = None
    tokenizer: bool = False
    base_name: str | None = None
    same_weights: bool = False


def of_the_answer(change):
    """A fault that changes the answer to every completion."""
    return lambda _folders: lambda _number, body: body and change


def early(answer):
    """Put the most likely token of each position one position too early, with all tokens listed."""
    listed = answer["choices"][0]["logprobs"]
    if listed:
        listed["top_logprobs"] = [None, *listed["top_logprobs"][2:], {"?": -0.001}]
        listed["token_logprobs"][-1] = -9.0
    return answer


def prompt_without_adapter(answer):
    """Different numbers for prompts and generated texts."""
    listed = answer["choices"][0]["logprobs"]
    if listed:
        own = len(listed["token_logprobs"]) - answer["usage"]["completion_tokens"]
        listed["token_logprobs"] = [x and (x - 6 if i < own else x) for i, x in enumerate(listed["token_logprobs"])]
    return answer


def text_only(_folders):
    def fail(_number, body):
        def bare(answer):
            choice = answer["choices"][0]
            choice["text"] = choice["text"].removeprefix(body["prompt"])
            return {**answer, "choices": [{**choice, "logprobs": None}]}

        return body and bare

    return fail


def chat_only(_folders):
    return lambda _number, body: (404, {"detail": "Not Found"}) if body and "prompt" in body else None


def changed_where_listed(**parts):
    """`changed`, for answers with log-probabilities only: the others are generated text."""
    change = changed(**parts)(0, {"prompt": ""})
    return lambda answer: change(answer) if answer["choices"][0]["logprobs"] else answer


def numbers(change):
    return of_the_answer(changed_where_listed(token_logprobs=change))


def spelled(spell, *, always=True):
    """A fault that spells each token in another way; `always` false: only where the request does not decline it."""

    def fault(folders):
        tokenizer = AutoTokenizer.from_pretrained(folders["tuned"])
        ids = {tokenizer.decode([i]): i for i in range(len(tokenizer))}
        part = ids["\N{REPLACEMENT CHARACTER}"]  # vLLM spells parts of characters as "", or as the whole character
        change = changed_where_listed(tokens=lambda tokens: [spell(tokenizer, ids.get(t, part)) for t in tokens])
        return lambda _, body: change if body and (always or body.get("return_tokens_as_token_ids", True)) else None

    return fault


def as_id(_tokenizer, token_id):
    return f"token_id:{token_id}"


def raw(tokenizer, token_id):
    return tokenizer.convert_ids_to_tokens(token_id)


KINDS = {
    "vLLM: log-probabilities of the prompt (`echo`)": Kind(base_name="base"),
    "vLLM, a model whose tokenizer adds BOS": Kind("gemma", {"bos": True}, base_name="base"),
    "llama-cpp-python (`echo`)": Kind("gemma", {"like": "llama_cpp", "bos": True}),
    "llama-cpp-python, a model without BOS": Kind(how={"like": "llama_cpp"}),
    "log-probabilities one token early": Kind(fault=of_the_answer(early)),
    "tokens as `token_id:17` unless declined": Kind(fault=spelled(as_id, always=False)),
    "tokens as `token_id:17` always": Kind(fault=spelled(as_id)),
    "tokens as `token_id:17` always, with `--tokenizer`": Kind(fault=spelled(as_id), tokenizer=True),
    "tokens as the vocabulary spells them (`Ġthe`)": Kind(fault=spelled(raw)),
    "-9999 in place of a log-probability": Kind(fault=numbers(lambda v: [*v[:2], -9999.0, *v[3:]])),
    "one number for every token": Kind(fault=numbers(lambda v: [None, *[-1.0] * (len(v) - 1)])),
    "prompt scored without the adapter (vLLM, LoRA on the output layer)": Kind(
        fault=of_the_answer(prompt_without_adapter)
    ),
    "two names for the same weights": Kind(base_name="base", same_weights=True),
    "text only (llama.cpp, Ollama, TGI)": Kind(fault=text_only),
    "chat only": Kind(fault=chat_only),
}
"""Every kind of server of the page."""


def outcome(kind, folders):
    """Audit a kind of server; return the attacks that ran, or the one-line error.

    Raises `AssertionError` if log-probabilities are not those of the weights.
    """
    served = {"base": folders["base"], "tuned": folders["base" if kind.same_weights else "tuned"]}
    fail = kind.fault(folders) if kind.fault else None
    tokenizer = AutoTokenizer.from_pretrained(folders["tuned"]) if kind.tokenizer else None
    with StandIn(served, fail=fail, **kind.how) as server:
        found = attempt(lambda: ran(served_audit(server, kind, tokenizer), kind, folders)).replace(server.url, "URL")
    return re.sub(r"-\d+\.\d{3}", "-N", found)  # log-probabilities depend on the machine


def served_audit(server, kind, tokenizer):
    attacks = "all" if kind.fault in (text_only, chat_only) else ATTACKS
    options = {"base_name": kind.base_name, "tokenizer": tokenizer, "attacks": attacks, "fpr": 0.2}
    return byheart.audit_endpoint(server.url, "tuned", *TEXTS, **options)


def ran(found, kind, folders):
    """The attacks that an audit ran, in words."""
    attacks = [n for n in (*found.scores[1], *found.extractions[1]) if n != "loss"]
    if "loss" not in found.scores[1]:
        return f"works for {', '.join(f'`{a}`' for a in sorted(attacks))}; other attacks are named"
    if kind.how.get("like") != "llama_cpp":  # its scores lack the first token
        own = weights(folders, *TEXTS, attacks=["loss"])
        for epoch in found.scores:
            np.testing.assert_allclose(found.scores[epoch]["loss"], own.scores[epoch]["loss"], atol=TOLERANCE)
        return "works: attacks on the text's tokens and on generated text"
    return "works: attacks on the text's tokens without the first, and on generated text"


def table(folders):
    """The outcome of each kind; `folders` returns the folders of an architecture's base and tuned model."""
    return {name: outcome(kind, folders(kind.architecture)) for name, kind in KINDS.items()}
