"""A text as a model read it, piece by piece: what is masked of it, and how little each piece surprised the model and its base."""

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
"""Tokens of a text that are shown."""
MASK_CHARACTER = "▪"
MIN_CUT_VALUE_CHARACTERS = 3
"""Letters of a private value that are still masked where a text was cut within it."""
REPLACEMENT_CHARACTER = "\N{REPLACEMENT CHARACTER}"
MAX_TOKENS_PER_CHARACTER = 8
"""Tokens that one letter may need."""

Piece = tuple[str, int]
"""A string with how many tokens it is."""
PieceReader = Callable[[int], Sequence[Piece]]
"""Gives a text, by its position, as the model read it."""


def token_view(
    parts: Sequence[Piece],
    finetuned_logprobs: Float[np.ndarray, " tokens"],
    base_logprobs: Float[np.ndarray, " tokens"] | None,
    private: Mapping[str, str],
) -> TokenView:
    """Return a text's pieces, private values masked, with log p (nats) of each under the tuned model and its base."""
    strings, masked = mask_private_values([s for s, _ in parts], private)
    edges = np.cumsum([0, *(n for _, n in parts)])[:-1]

    def surprise(logp: Float[np.ndarray, " tokens"]) -> list[float]:
        return [float(f"{v:.3g}") for v in np.add.reduceat(logp, edges)[:MAX_TOKENS]]

    cut = f"The first {MAX_TOKENS:,} of {len(parts):,} tokens. " if len(parts) > MAX_TOKENS else ""
    hidden = "Private values that are named are masked. " if masked else ""
    return TokenView(
        [escape_invisible(s) for s in strings[:MAX_TOKENS]],
        [m for m in masked if m < MAX_TOKENS],
        surprise(finetuned_logprobs),
        None if base_logprobs is None else surprise(base_logprobs),
        (cut + hidden).strip(),
    )


def token_pieces(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[Piece]:
    """Return the strings of tokens with how many tokens each is: a letter of several tokens is one piece."""
    found: list[Piece] = []
    at = 0
    while at < len(ids):
        for size in range(1, MAX_TOKENS_PER_CHARACTER + 1):
            piece = str(tokenizer.decode(ids[at : at + size]))
            if REPLACEMENT_CHARACTER not in piece or at + size >= len(ids):
                break
        else:
            size, piece = 1, str(tokenizer.decode(ids[at : at + 1]))
        size = min(size, len(ids) - at)
        found.append((piece, size))
        at += size
    return found


def text_pieces(text: str, token_starts: Sequence[int]) -> list[Piece]:
    """Return the strings of tokens by where they begin in a text; one that adds no letter is of the piece before it.

    So begin the later parts of a letter, as late as may be, where a server's tokens are laid along the text.
    """
    found: list[Piece] = []
    for begin, end in itertools.pairwise([*token_starts, len(text)]):
        if end > begin or not found:
            found.append((text[begin:end], 1))
        else:
            found[-1] = (found[-1][0], found[-1][1] + 1)
    return found


def mask_private_values(parts: Sequence[str], private: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Return the pieces of a text with every one that holds a letter of a private value replaced, and which these are.

    A value is found whatever its case, wherever it stands, and where the text ends within it.
    """
    text = "".join(parts).casefold()
    same = len(text) == len("".join(parts))  # casefolding may lengthen a text, and places would shift
    text = text if same else "".join(parts)
    starts = np.cumsum([0, *map(len, parts)])
    shown, masked = list(parts), set[int]()
    for name, value in private.items():
        wanted = value.casefold() if same else value
        for low, high in _occurrences(text, wanted):
            over = [i for i in range(len(parts)) if starts[i] < high and starts[i + 1] > low]
            for nth, i in enumerate(over):
                shown[i] = (
                    f"[{name}]" if nth == 0 and i not in masked else MASK_CHARACTER if i not in masked else shown[i]
                )
            masked.update(over)
    return shown, sorted(masked)


def masked_text(text: str, private: Mapping[str, str]) -> str:
    """Return a text with each private value replaced by its name."""
    letters, hidden = mask_private_values(list(text), private)
    rest = {i for i in hidden if letters[i] == MASK_CHARACTER}
    return "".join(c for i, c in enumerate(letters) if i not in rest)


def _occurrences(text: str, value: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = text.find(value) if value else -1
    while at >= 0:
        found.append((at, at + len(value)))
        at = text.find(value, at + 1)
    end = next((n for n in range(len(value) - 1, MIN_CUT_VALUE_CHARACTERS - 1, -1) if text.endswith(value[:n])), 0)
    return [*found, *([(len(text) - end, len(text))] if end else [])]
