"""Tokenize texts once: every method trains on and scores the same token ids.

Prompt and completion are tokenized as one string, as trainers do ("joined"): a token is scored if it ends after the
prompt. "apart" tokenizes them separately and concatenates the ids. The two differ where a token covers the boundary, and for
every completion if the tokenizer puts a space before each string (Llama 2, Mistral).

If the tokenizer adds a BOS token, it is the first token and is never scored. Without BOS and prompt, the first token is not
scored: it has no preceding token.

The prompt of a chat is the tokenizer's chat template applied to the chat, up to the first word of the last message.

With `end_token`, every text that is not truncated ends with the tokenizer's EOS, as in usual supervised fine-tuning; a chat ends
with the token by which its template ends a turn. It is a scored token and receives loss. Without (the default), no end is trained
or scored.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from byheart.core.config import DEFAULT_TOKEN_FORMAT, TokenFormat, Tokenization
from byheart.core.errors import DataError, ModelError
from byheart.core.types import Texts
from byheart.lm.from_pretrained import is_of_tokenizers, short_error
from byheart.lm.special_tokens import bos_ids, end_ids, render_chats

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokens:
    """Token ids packed end to end: text i is `ids[starts[i]:starts[i+1]]`; its tokens from index `first[i]` are scored.

    `texts` are the texts after truncation. `cut` is the number of tokens removed from each text. `ended` is 1 for a text whose
    last token is an end token, else 0; None if no text has one.
    """

    ids: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]
    first: Int[np.ndarray, " texts"]
    cut: Int[np.ndarray, " texts"]
    texts: Texts
    ended: Int[np.ndarray, " texts"] | None = None

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.first)

    @property
    def lengths(self) -> Int[np.ndarray, " texts"]:
        """Number of tokens of each text, including prompt and BOS."""
        return np.diff(self.starts)

    @property
    def text_lengths(self) -> Int[np.ndarray, " texts"]:
        """Number of tokens of each text as `lengths`, without its end token."""
        return self.lengths if self.ended is None else self.lengths - self.ended

    @property
    def scored_starts(self) -> Int[np.ndarray, " texts_plus_one"]:
        """Offsets of the scored tokens, packed end to end."""
        return np.concatenate([[0], np.cumsum(self.lengths - self.first)])

    def scored_positions(self, chosen: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " rows"]:
        """Return the indices of these texts' scored tokens among all scored tokens, text by text in the order of `chosen`."""
        offsets = self.scored_starts
        return np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in chosen])

    @functools.cached_property
    def scored_ids(self) -> Int[np.ndarray, " scored_tokens"]:
        """Ids of the scored tokens, packed end to end."""
        positions = np.arange(len(self.ids)) - np.repeat(self.starts[:-1], self.lengths)
        return self.ids[positions >= np.repeat(self.first, self.lengths)]

    @functools.cached_property
    def digest(self) -> str:
        """Content hash (32 hex digits) of the token ids and of the choice of scored tokens."""
        digest = hashlib.blake2b(digest_size=16)
        for values in (self.starts, self.first, self.ids):
            digest.update(values.astype("<i8").tobytes())
        if self.ended is not None:
            digest.update(self.ended.astype("<i8").tobytes())
        return digest.hexdigest()


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    texts: Texts,
    max_tokens: int,
    *,
    token_format: TokenFormat = DEFAULT_TOKEN_FORMAT,
) -> Tokens:
    """Return the texts' tokens, at most `max_tokens` each (including BOS, prompt and end token), with chats rendered.

    Truncation removes the start of the prompt first, because the end of the prompt conditions the completion most, then
    the end of the scored part, so a truncated text has no end token. A text that ends with its end token does not get another.
    Raises `DataError` for a text without a scored token besides the end token, and with an end token for a tokenizer without EOS.
    """
    ends = end_ids(tokenizer, texts) if token_format.end_token else None
    texts = render_chats(tokenizer, texts)
    bos = bos_ids(tokenizer)
    parts = prompt_and_scored_ids(tokenizer, texts, token_format.tokenization)
    rows: list[list[int]] = []
    first: list[int] = []
    truncated = list(texts.scored)
    cut: list[int] = []
    ended: list[int] = []
    for i, (prompt, content) in enumerate(parts):
        text = content if ends is None or content[-1:] == [ends[i]] else [*content, ends[i]]
        excess = len(bos) + len(prompt) + len(text) - max_tokens
        cut.append(max(excess, 0))
        prompt_part, text_part = prompt, text
        if excess > 0:
            # One prompt token stays, so that the first token of the completion has a preceding token.
            removable = max(len(prompt) - 1, 0)
            prompt_part = prompt[min(excess, removable) :]
            if excess > removable:
                text_part = text[: max(len(text) - (excess - removable), 0)]
                if len(text_part) < len(content):
                    truncated[i] = tokenizer.decode(text_part)
        ended.append(int(ends is not None and len(text_part) == len(text)))
        row = [*bos, *prompt_part, *text_part]
        start = max(len(bos) + len(prompt_part), 1)
        if start >= len(row) - ended[i]:
            fix = "Remove it, or raise max_tokens" if excess > 0 else "Remove it: its only token has no preceding token"
            raise DataError(f"text {texts.ids[i]!r}: no token to score among its {len(row)} tokens. {fix}.")
        rows.append(row)
        first.append(start)
    starts = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    ids = np.fromiter((t for r in rows for t in r), dtype=np.int64, count=int(starts[-1]))
    return Tokens(
        ids,
        starts,
        np.array(first, dtype=np.int64),
        np.array(cut, dtype=np.int64),
        Texts(texts.ids, tuple(truncated), texts.prompts),
        None if ends is None else np.array(ended, dtype=np.int64),
    )


def prompt_and_scored_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Texts, tokenization: Tokenization
) -> list[tuple[list[int], list[int]]]:
    """Return the ids of each text's prompt and of its scored part, without special tokens."""
    if tokenization == "apart" or not any(texts.prompts):
        return list(zip(_plain_ids(tokenizer, texts.prompts), _plain_ids(tokenizer, texts.scored), strict=True))
    strings = [prompt + scored for prompt, scored in zip(texts.prompts, texts.scored, strict=True)]
    encoded = _encoded(tokenizer, strings, return_offsets_mapping=tokenizer.is_fast)
    prompts = [] if tokenizer.is_fast else _plain_ids(tokenizer, texts.prompts)
    parts: list[tuple[list[int], list[int]]] = []
    for i, ids in enumerate(encoded["input_ids"]):
        if tokenizer.is_fast:
            ends = [end for _, end in encoded["offset_mapping"][i]]
            first = next((k for k, end in enumerate(ends) if end > len(texts.prompts[i])), len(ids))
        else:
            first = _common_prefix_length(ids, prompts[i])
        parts.append((list(ids[:first]), list(ids[first:])))
    return parts


def _common_prefix_length(first: Sequence[int], second: Sequence[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def texts_with_other_tokens(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> int:
    """Return the number of texts whose tokens differ between joined and apart tokenization."""
    if not any(texts.prompts):
        return 0
    joined, apart = (prompt_and_scored_ids(tokenizer, texts, how) for how in ("joined", "apart"))
    return sum(j != a for j, a in zip(joined, apart, strict=True))


def _plain_ids(tokenizer: PreTrainedTokenizerBase, strings: tuple[str, ...]) -> list[list[int]]:
    if not any(strings):
        return [[] for _ in strings]
    return _encoded(tokenizer, list(strings))["input_ids"]


def _encoded(tokenizer: PreTrainedTokenizerBase, strings: list[str], **options: bool) -> Any:
    """Return the tokenizer's encoding without special tokens. Raises `ModelError` for a tokenizer that fails on these texts."""
    try:
        return tokenizer(strings, add_special_tokens=False, **options)
    except BaseException as error:
        if not is_of_tokenizers(error):
            raise
        raise ModelError(
            f"tokenizer {tokenizer.name_or_path!r}: cannot tokenize these texts ({short_error(error)}). Use the tokenizer of the "
            "model's authors."
        ) from error
