"""What a server says of a text that it was asked to echo: its tokens, where each begins in the text, and their log-probabilities.

OpenAI's form of completions: `tokens`, `token_logprobs` and `top_logprobs` side by side, the prompt's tokens first, then what
was written. Servers spell tokens one by one, and `text_offset` adds up the lengths of these spellings, so neither can be taken
as it is: a part of a character is spelt as nothing or as U+FFFD, a space at a token's beginning is lost by some decoders, and
marks such as <|im_end|> are left out. Tokens are therefore laid along the text that was sent, all ways at once, and a text is
read only if one way leads to its end: a server that cuts a text, changes it, or speaks of another is found.

A server's numbers may stand one token off: llama-cpp-python gives, where its model's tokenizer adds no BOS, to each token the
log-probability that its successor be the same token. What was written last then has no number at all, or is the likeliest
token one place too early, and either is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from byheart.core.errors import ModelError

PART = "\N{REPLACEMENT CHARACTER}"
MARK = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>")
"""How special tokens are written; a server may leave them out of its tokens."""
LEADING = 4
"""Tokens before the text (a BOS, or a few marks) that a server may list."""
ROUNDING = 1e-3
"""Nats by which a log-probability may be above 0, and the likeliest token below another."""


class Echo(NamedTuple):
    """A text as a server's model reads it. A token that has no log-probability (the first) has NaN.

    `before` counts the tokens that the model read before the text and that are not of it. `sure` says whether a token that was
    written after the text was seen in its own place, and so with it all others.
    """

    tokens: tuple[str, ...]
    logp: Float[np.ndarray, " tokens"]
    token_starts: Int[np.ndarray, " tokens"]
    leading_tokens: int
    is_alignment_confirmed: bool


def parse_echo(answer: Mapping[str, Any], sent: str) -> Echo:
    """Return what an answer says of the text that was sent.

    Raises `ModelError` for an answer without log-probabilities of the prompt, for one that is of another text or of a part
    of it, and for log-probabilities that stand one token off.
    """
    choice, tokens, logp, tops = _parse_logprobs(answer)
    written = _count(answer, "completion_tokens")
    way = _align_tokens(sent, tokens, logp, written)
    if way is None:
        raise ModelError(_mismatch_text(sent, tokens, _reachable_positions(sent, tokens)))
    before, own, reach = way
    end = before + own
    placed = _is_generated_aligned(choice, sent, tokens[end:], written)
    if placed is False or (end < len(tokens) and _is_shifted(tokens, logp, tops, end)):
        raise ModelError(_SHIFTED_LOGPROBS)
    spoken = logp[before:end]
    if np.isnan(spoken[1:]).any() or not len(spoken):
        raise ModelError(_NO_LOGPROBS)
    read = _count(answer, "prompt_tokens")
    return Echo(
        tokens[before:end],
        spoken,
        _begins(sent, tokens[before:end], reach),
        max(before, (read or 0) - own),
        placed is True,
    )


_NO_LOGPROBS = "gives no log-probabilities of what it reads, only of what it writes; an audit needs them (llama.cpp's own server has none)"
_SHIFTED_LOGPROBS = (
    "gives log-probabilities that stand one token off; llama-cpp-python does so where its model's tokenizer adds no BOS: start "
    "it with --kv_overrides tokenizer.ggml.add_bos_token=bool:true"
)


def _parse_logprobs(
    answer: Mapping[str, Any],
) -> tuple[Mapping[str, Any], tuple[str, ...], Float[np.ndarray, " tokens"], Sequence[Any]]:
    """Return choice, tokens, log-probabilities (NaN for null) and likeliest tokens of an answer."""
    try:
        choice = answer["choices"][0]
        listed = choice["logprobs"]
        tokens, logp = listed["tokens"], listed["token_logprobs"]
        tops = listed.get("top_logprobs") or []
    except (LookupError, TypeError, AttributeError):
        raise ModelError(_NO_LOGPROBS) from None
    if not isinstance(tokens, list) or not isinstance(logp, list) or len(tokens) != len(logp):
        raise ModelError(_NO_LOGPROBS)
    if not all(isinstance(t, str) for t in tokens) or not all(_is_number(v) or v is None for v in logp):
        raise ModelError("gives tokens that are no strings, or log-probabilities that are no numbers")
    numbers = np.array([math.nan if v is None else v for v in logp], dtype=np.float64)
    if any(v is not None and not (math.isfinite(v) and v <= ROUNDING) for v in logp):
        raise ModelError("gives log-probabilities above 0, or that are not finite: its numbers are something else")
    return choice, tuple(tokens), np.minimum(numbers, 0.0), tops if isinstance(tops, list) else []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(answer: Mapping[str, Any], name: str) -> int | None:
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _ends(text: str, token: str, at: int) -> Iterable[int]:
    """Yield where a token may end that begins at a place in the text."""
    if token and PART not in token:
        if text.startswith(token, at):
            yield at + len(token)
            return
        if at < len(text) and text[at].isspace() and text.startswith(token, at + 1):
            yield at + 1 + len(token)
        if at == 0 and token.startswith(" ") and text.startswith(token[1:]):
            yield len(token) - 1  # a space that the tokenizer puts before every text
    else:
        yield from _parts(text, token, at)
    if mark := MARK.match(text, at):
        yield mark.end() if not token else -1
        yield from (end for end in _ends(text, token, mark.end()) if token)


def _parts(text: str, token: str, at: int) -> set[int]:
    """Return where a token may end that holds parts of characters, each of which a token may complete or only begin."""
    places = {at}
    for letter in token or PART:
        if letter == PART:
            places |= {p + 1 for p in places if p < len(text) and not text[p].isascii()}
        else:
            places = {p + 1 for p in places if text.startswith(letter, p)}
    return places


def _reachable_positions(text: str, tokens: Sequence[str]) -> list[set[int]]:
    """Return the places that may be reached after each number of tokens, as far as any is."""
    reach = [{0}]
    for token in tokens:
        places = {end for at in reach[-1] for end in _ends(text, token, at) if end >= 0}
        if not places:
            break
        reach.append(places)
    return reach


def _own_token_count(text: str, reach: Sequence[set[int]], tokens: int, written: int | None) -> int | None:
    """Return how many of the tokens are the text's own; None where no way leads to its end."""
    # One token is asked for beyond the text: a server may write none where its model ends there, or more to complete a character.
    ways = (tokens - 1, tokens) if written is None else (tokens - written, tokens - written + 1)
    for own in ways if written != 0 else (tokens,):
        if 0 < own < len(reach) and len(text) in reach[own]:
            return own
    return None


def _begins(text: str, tokens: Sequence[str], reach: Sequence[set[int]]) -> Int[np.ndarray, " tokens"]:
    """Return where each token begins, along one of the ways that lead to the text's end."""
    begins = np.zeros(len(tokens), dtype=np.int64)
    at = len(text)
    for i in reversed(range(len(tokens))):
        at = max(p for p in reach[i] if at in set(_ends(text, tokens[i], p)))
        begins[i] = at
    return begins


def _align_tokens(
    sent: str, tokens: Sequence[str], logp: Float[np.ndarray, " tokens"], written: int | None
) -> tuple[int, int, list[set[int]]] | None:
    """Return how many tokens stand before the text, how many are its own, and the places that they reach; None for no way."""
    for before in range(min(LEADING, len(tokens)) + 1):
        if before and not np.isnan(logp[0]):
            return None  # what stands before a text is listed with nothing before it
        reach = _reachable_positions(sent, tokens[before:])
        own = _own_token_count(sent, reach, len(tokens) - before, written)
        if own is not None:
            return before, own, reach
    return None


def _is_generated_aligned(
    choice: Mapping[str, Any], sent: str, last: Sequence[str], written: int | None
) -> bool | None:
    """Whether what was written is what is listed after the text; None where its spelling does not tell."""
    whole = choice.get("text")
    added = whole[len(sent) :] if isinstance(whole, str) and whole.startswith(sent) else ""
    if not last:
        return False if written or (written is None and added) else None
    spelt = "".join(last)
    if spelt and added and spelt.strip() == added.strip():
        return True
    # A part of a character and a mark that ends are written as nothing, or spelt as nothing.
    if not added or len(last) > 1 or PART in added + spelt or (added.isspace() and not spelt):
        return None
    return False


def _is_shifted(tokens: Sequence[str], logp: Float[np.ndarray, " tokens"], tops: Sequence[Any], end: int) -> bool:
    """Whether the token that was written is the likeliest one place before its own, and not at its own."""
    if end >= len(tops) or not isinstance(tops[end], Mapping) or not isinstance(tops[end - 1], Mapping):
        return False
    here, there = ({t: v for t, v in top.items() if _is_number(v)} for top in (tops[end], tops[end - 1]))
    if not here or not there or logp[end] >= max(here.values()) - ROUNDING:
        return False
    return max(there, key=lambda t: there[t]) == tokens[end]


def _mismatch_text(text: str, tokens: Sequence[str], reach: Sequence[set[int]]) -> str:
    """Say how the tokens are not the text's, without quoting it."""
    furthest = max(reach[-1])
    if len(reach) - 1 >= len(tokens) - 1 and furthest:
        return (
            f"reads only the first {furthest} of a text's {len(text)} characters: it cuts what it is sent; raise its limit, or give "
            "shorter texts"
        )
    if len(tokens) <= 1:
        return _NO_LOGPROBS
    return (
        f"gives tokens that do not join to the text that was sent (from character {furthest} on): its tokenizer changes texts, or "
        "it cuts them"
    )
