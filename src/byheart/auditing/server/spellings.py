r"""Undo the ways in which servers spell tokens: ids (`token_id:17`), bytes (`bytes:\xe2\x80`), and raw vocabulary entries.

A raw entry is byte-level ("Ġthe" for " the", as in GPT-2) or SentencePiece's ("▁the", "<0xE2>"). A part of a character
becomes U+FFFD, which the alignment with the text knows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from byheart.core.errors import ModelError

TOKEN_ID = re.compile(r"token_id:(\d+)")
BYTES = "bytes:"
SENTENCEPIECE_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
SENTENCEPIECE_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")

Decode = Callable[[int], str]
"""Returns the string of a token id."""


class TokenIdsError(ModelError):
    """A server that returns ids in place of tokens, without a tokenizer to decode them."""


def spellings(tokens: Sequence[str], decode: Decode | None = None) -> Iterator[tuple[str, ...]]:
    """Yield possible readings of tokens as strings, the likeliest first; `decode` is the model's tokenizer, if there is one.

    Raises `TokenIdsError` for ids without a tokenizer.
    """
    if tokens and all(map(TOKEN_ID.fullmatch, tokens)):
        if decode is None:
            raise TokenIdsError(
                f"the server returns ids in place of tokens ({tokens[0]!r}). Name the model's tokenizer with --tokenizer, or "
                "start vLLM without --return-tokens-as-token-ids."
            )
        yield tuple(decode(int(t.removeprefix("token_id:"))) for t in tokens)
        return
    if any(t.startswith(f"{BYTES}\\x") for t in tokens):
        tokens = tuple(_from_escaped_bytes(t) if t.startswith(f"{BYTES}\\x") else t for t in tokens)
    yield tuple(tokens)
    if any(SENTENCEPIECE_SPACE in t for t in tokens):
        yield tuple(_from_sentencepiece(t) for t in tokens)
    if all(c in byte_of_character() or c == " " for t in tokens for c in t):
        yield tuple(_from_byte_level(t) for t in tokens)


def _from_escaped_bytes(token: str) -> str:
    digits = re.findall(r"\\x([0-9A-Fa-f]{2})", token)
    return bytes(int(d, 16) for d in digits).decode("utf-8", "replace")


def _from_sentencepiece(token: str) -> str:
    byte = SENTENCEPIECE_BYTE.fullmatch(token)
    if byte:
        return bytes([int(byte[1], 16)]).decode("utf-8", "replace")
    return token.replace(SENTENCEPIECE_SPACE, " ")


def _from_byte_level(token: str) -> str:
    table = byte_of_character()
    return bytes(table.get(c, ord(c) & 255) for c in token).decode("utf-8", "replace")


@functools.cache
def byte_of_character() -> Mapping[str, int]:
    """Return the byte that each character stands for in byte-level vocabularies (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
