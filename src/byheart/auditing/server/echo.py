"""Parse an echoed completion: the text's tokens, where each begins in the text, and their log-probabilities.

OpenAI's completion format lists `tokens`, `token_logprobs` and `top_logprobs` in parallel: the prompt's tokens, then the
generated ones. Servers decode tokens one by one, and `text_offset` sums the lengths of the decoded strings, so neither is
reliable: a part of a character decodes to "" or U+FFFD, some decoders drop a token's leading space, and special tokens
such as <|im_end|> are omitted. The parser therefore aligns the tokens with the sent text, along all possible alignments
at once, and accepts an answer only if one alignment reaches the end of the text. This detects a server that truncates or
changes the text, or answers for another text.

A server's log-probabilities may be off by one token. llama-cpp-python, with a tokenizer that adds no BOS, returns for each
token the log-probability that its successor is the same token. The last generated token then has no log-probability, or
is the most likely token one position too early; the parser rejects both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from byheart.auditing.server.logprobs import (
    NO_LOGPROBS,
    ROUNDING,
    NoLogprobsError,
    check_text_logprobs,
    is_number,
    parse_logprobs,
)
from byheart.auditing.server.spellings import Decode, spellings
from byheart.core.errors import ModelError

PART = "\N{REPLACEMENT CHARACTER}"
MARK = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>")
"""Special tokens, which a server may omit from its tokens."""
LEADING = 4
"""Maximum number of tokens that a server may list before the text (a BOS or other special tokens)."""


class Echo(NamedTuple):
    """Tokens of a text with their log-probabilities (nats; NaN for the first token if it has none).

    `leading_tokens` counts tokens that the model read before the text. `is_alignment_confirmed` is True if the generated
    token was at its own position, which confirms the positions of all others. `generated` is the text that the model
    generated after the sent text, `generated_tokens` and `generated_logp` are its tokens and their log-probabilities.
    """

    tokens: tuple[str, ...]
    logp: Float[np.ndarray, " tokens"]
    token_starts: Int[np.ndarray, " tokens"]
    leading_tokens: int
    is_alignment_confirmed: bool
    generated: str = ""
    generated_tokens: tuple[str, ...] = ()
    generated_logp: Float[np.ndarray, " generated"] = np.zeros(0)


def parse_echo(answer: Mapping[str, Any], sent: str, decode: Decode | None = None, max_generated: int = 1) -> Echo:
    """Return the tokens of the sent text, from an answer with `echo` and `logprobs` to a request of `max_generated` tokens.

    `decode` is the model's tokenizer, for a server that returns ids in place of tokens. Raises `NoLogprobsError` for an
    answer without the prompt's log-probabilities, and `ModelError` for an answer about another text or a part of the text,
    and for log-probabilities that are off by one token.
    """
    completion = parse_logprobs(answer)
    logp, tops = completion.logp, completion.tops
    generated = _count(answer, "completion_tokens")
    limit = max_generated if generated is None else min(max(generated, 0), len(logp))
    for tokens in spellings(completion.tokens, decode):
        alignment = _align_tokens(sent, tokens, logp, (generated is not None, limit))
        if alignment is not None:
            break
    else:
        first = next(iter(spellings(completion.tokens, decode)))
        raise _mismatch_error(sent, first, _reachable_positions(sent, first))
    leading, text_tokens, reach = alignment
    end = leading + text_tokens
    added = completion.text[len(sent) :] if completion.text.startswith(sent) else ""
    is_aligned = _is_generated_aligned(added, tokens[end:], generated)
    if is_aligned is False and added == "".join(completion.tokens[end:]):
        is_aligned = True  # the server spells the generated text as its tokens
    shown = {*tokens[end : end + 1], *completion.tokens[end : end + 1]}
    if is_aligned is False or (end < len(tokens) and _is_shifted(shown, logp, tops, end)):
        raise ModelError(_SHIFTED_LOGPROBS)
    text_logp = logp[leading:end]
    check_text_logprobs(text_logp)
    prompt_tokens = _count(answer, "prompt_tokens")
    return Echo(
        tokens[leading:end],
        text_logp,
        _token_starts(sent, tokens[leading:end], reach),
        max(leading, (prompt_tokens or 0) - text_tokens),
        is_aligned is True,
        added,
        tokens[end:],
        logp[end:],
    )


_SHIFTED_LOGPROBS = (
    "the log-probabilities are off by one token, as from llama-cpp-python with a tokenizer that adds no BOS. Start it with "
    "--kv_overrides tokenizer.ggml.add_bos_token=bool:true."
)


def _count(answer: Mapping[str, Any], name: str) -> int | None:
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _ends(text: str, token: str, start: int) -> Iterable[int]:
    """Yield the positions where a token may end that begins at `start`."""
    if token and PART not in token:
        if text.startswith(token, start):
            yield start + len(token)
            return
        if start < len(text) and text[start].isspace() and text.startswith(token, start + 1):
            yield start + 1 + len(token)
        if start == 0 and token.startswith(" ") and text.startswith(token[1:]):
            yield len(token) - 1  # a space that the tokenizer adds before every text
    else:
        yield from _partial_ends(text, token, start)
    if special := MARK.match(text, start):
        yield special.end() if not token else -1
        yield from (end for end in _ends(text, token, special.end()) if token)


def _partial_ends(text: str, token: str, start: int) -> set[int]:
    """Return the positions where a token with parts of characters may end: each part may complete a character or not."""
    positions = {start}
    for character in token or PART:
        if character == PART:
            positions |= {p + 1 for p in positions if p < len(text) and not text[p].isascii()}
        else:
            positions = {p + 1 for p in positions if text.startswith(character, p)}
    return positions


def _reachable_positions(text: str, tokens: Sequence[str]) -> list[set[int]]:
    """Return the positions in the text that each number of tokens can reach, until none is reachable."""
    reach = [{0}]
    for token in tokens:
        positions = {end for start in reach[-1] for end in _ends(text, token, start) if end >= 0}
        if not positions:
            break
        reach.append(positions)
    return reach


def _text_token_count(text: str, reach: Sequence[set[int]], tokens: int, generated: tuple[bool, int]) -> int | None:
    """Return how many of the tokens belong to the text; None if no alignment reaches its end.

    `generated` says whether the server counted its generated tokens, and their number, or else the most there can be.
    """
    # A server may generate none if its model ends there, or more than requested to complete a character.
    is_counted, limit = generated
    counts = (tokens - limit, tokens - limit + 1) if is_counted else range(tokens - limit, tokens + 1)
    for count in counts if limit else (tokens,):
        if 0 < count < len(reach) and len(text) in reach[count]:
            return count
    return None


def _token_starts(text: str, tokens: Sequence[str], reach: Sequence[set[int]]) -> Int[np.ndarray, " tokens"]:
    """Return where each token begins in the text, along one alignment that reaches the text's end.

    The last part of a character completes it, so that all parts begin before its end.
    """
    starts = np.zeros(len(tokens), dtype=np.int64)
    position = len(text)
    for i in reversed(range(len(tokens))):
        possible = [p for p in reach[i] if position in set(_ends(text, tokens[i], p))]
        is_part = not tokens[i] or PART in tokens[i]
        position = min(possible) if is_part else max(possible)
        starts[i] = position
    return starts


def _align_tokens(
    sent: str, tokens: Sequence[str], logp: Float[np.ndarray, " tokens"], generated: tuple[bool, int]
) -> tuple[int, int, list[set[int]]] | None:
    """Return the number of leading tokens, the number of the text's tokens, and the positions they reach; None if unaligned."""
    for leading in range(min(LEADING, len(tokens)) + 1):
        if leading and not np.isnan(logp[0]):
            return None  # the first of all tokens has no context, and so no log-probability
        reach = _reachable_positions(sent, tokens[leading:])
        text_tokens = _text_token_count(sent, reach, len(tokens) - leading, generated)
        if text_tokens is not None:
            return leading, text_tokens, reach
    return None


def _is_generated_aligned(added: str, last: Sequence[str], generated: int | None) -> bool | None:
    """Whether the generated text equals the tokens after the text; None if their decoded strings do not decide it."""
    if not last:
        return False if generated or (generated is None and added) else None
    decoded = "".join(last)
    if decoded and added and decoded.strip() == added.strip():
        return True
    # A part of a character and a special end token may be empty in either string.
    if not added or len(last) > 1 or PART in added + decoded or (added.isspace() and not decoded):
        return None
    return False


def _is_shifted(token: set[str], logp: Float[np.ndarray, " tokens"], tops: Sequence[Any], end: int) -> bool:
    """Whether the generated token (its spellings) is the most likely one at the position before its own, and not at its own."""
    if end >= len(tops) or not isinstance(tops[end], Mapping) or not isinstance(tops[end - 1], Mapping):
        return False
    top, previous = ({t: v for t, v in top.items() if is_number(v)} for top in (tops[end], tops[end - 1]))
    if not top or not previous or logp[end] >= max(top.values()) - ROUNDING:
        return False
    return max(previous, key=lambda t: previous[t]) in token


def _mismatch_error(text: str, tokens: Sequence[str], reach: Sequence[set[int]]) -> ModelError:
    """Return an error for tokens that do not match the text, without quoting the text."""
    furthest = max(reach[-1])
    if len(reach) - 1 >= len(tokens) - 1 and furthest:
        return ModelError(
            f"the server reads only the first {furthest} of the text's {len(text)} characters. Raise its limit, or provide shorter "
            "texts."
        )
    if len(tokens) <= 1:
        return NoLogprobsError(NO_LOGPROBS)
    return ModelError(
        f"the returned tokens do not join to the sent text (from character {furthest} on): the tokenizer changes the text, or the "
        "server truncates it. Use another server, or audit the weights."
    )
