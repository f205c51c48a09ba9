"""Token view: a text token by token, with private values masked and log-probabilities under fine-tuned and base model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from byheart.analysis.exposed_records import TokenView, escape_invisible

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_TOKENS = 2000
"""Maximum tokens of a text that are shown."""
MASK_CHARACTER = "▪"
MIN_CUT_VALUE_CHARACTERS = 3
"""Minimum characters of a truncated private value at the end of a text that are masked."""
REPLACEMENT_CHARACTER = "\N{REPLACEMENT CHARACTER}"
MAX_TOKENS_PER_CHARACTER = 8
"""Maximum number of tokens that encode one character."""

Piece = tuple[str, int]
"""A string and the number of its tokens."""
PieceReader = Callable[[int], Sequence[Piece]]
"""Returns the token pieces of a text by its position."""


def token_view(
    parts: Sequence[Piece],
    finetuned_logprobs: Float[np.ndarray, " tokens"],
    base_logprobs: Float[np.ndarray, " tokens"] | None,
    private: Mapping[str, str],
) -> TokenView:
    """Return a text's pieces with log p (nats) of each under the fine-tuned and base model, private values masked."""
    strings, masked = mask_private_values([s for s, _ in parts], private)
    edges = np.cumsum([0, *(n for _, n in parts)])[:-1]

    def piece_logprobs(logp: Float[np.ndarray, " tokens"]) -> list[float]:
        return [float(f"{v:.3g}") for v in np.add.reduceat(logp, edges)[:MAX_TOKENS]]

    truncation = f"The first {MAX_TOKENS:,} of {len(parts):,} tokens. " if len(parts) > MAX_TOKENS else ""
    masking = "Named private values are masked. " if masked else ""
    return TokenView(
        [escape_invisible(s) for s in strings[:MAX_TOKENS]],
        [m for m in masked if m < MAX_TOKENS],
        piece_logprobs(finetuned_logprobs),
        None if base_logprobs is None else piece_logprobs(base_logprobs),
        (truncation + masking).strip(),
    )


def token_pieces(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[Piece]:
    """Return the pieces of token ids; several tokens that encode one character are one piece."""
    pieces: list[Piece] = []
    start = 0
    while start < len(ids):
        for size in range(1, MAX_TOKENS_PER_CHARACTER + 1):
            string = str(tokenizer.decode(ids[start : start + size]))
            if REPLACEMENT_CHARACTER not in string or start + size >= len(ids):
                break
        else:
            size, string = 1, str(tokenizer.decode(ids[start : start + 1]))
        size = min(size, len(ids) - start)
        pieces.append((string, size))
        start += size
    return pieces


def text_pieces(text: str, token_starts: Sequence[int]) -> list[Piece]:
    """Return the pieces of a text from the character positions at which its tokens start.

    A token without characters belongs to the piece after it: all tokens of one character start where the character starts.
    At the end of the text it belongs to the last piece.
    """
    pieces: list[Piece] = []
    waiting = 0
    for begin, end in itertools.pairwise([*token_starts, len(text)]):
        waiting += 1
        if end > begin:
            pieces.append((text[begin:end], waiting))
            waiting = 0
    if waiting:
        string, tokens = pieces.pop() if pieces else ("", 0)
        pieces.append((string, tokens + waiting))
    return pieces


def mask_private_values(parts: Sequence[str], private: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Return the pieces of a text with each piece that overlaps a private value replaced, and the replaced positions.

    Matches every occurrence of a value, ignoring case, and a value that is truncated at the end of the text.
    """
    original = "".join(parts)
    # Casefolding may change the length of a text, which would shift positions; then the match respects case.
    ignores_case = len(original.casefold()) == len(original)
    text = original.casefold() if ignores_case else original
    starts = np.cumsum([0, *map(len, parts)])
    pieces, masked = list(parts), set[int]()
    for name, value in private.items():
        for low, high in _occurrences(text, value.casefold() if ignores_case else value):
            overlapping = [i for i in range(len(parts)) if starts[i] < high and starts[i + 1] > low]
            for nth, i in enumerate(overlapping):
                if i not in masked:
                    pieces[i] = f"[{name}]" if nth == 0 else MASK_CHARACTER
            masked.update(overlapping)
    return pieces, sorted(masked)


def masked_text(text: str, private: Mapping[str, str]) -> str:
    """Return a text with each private value replaced by its name."""
    characters, masked = mask_private_values(list(text), private)
    removed = {i for i in masked if characters[i] == MASK_CHARACTER}
    return "".join(c for i, c in enumerate(characters) if i not in removed)


def _occurrences(text: str, value: str) -> list[tuple[int, int]]:
    """Return begin and end of each occurrence of a value, and of its beginning where the text ends."""
    spans: list[tuple[int, int]] = []
    start = text.find(value) if value else -1
    while start >= 0:
        spans.append((start, start + len(value)))
        start = text.find(value, start + 1)
    sizes = range(len(value) - 1, MIN_CUT_VALUE_CHARACTERS - 1, -1)
    size = next((n for n in sizes if text.endswith(value[:n])), 0)
    return [*spans, *([(len(text) - size, len(text))] if size else [])]
