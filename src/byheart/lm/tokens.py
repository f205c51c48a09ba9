"""Tokenize texts once: every method trains on and scores the same token ids.

Prompt and completion are tokenized separately and concatenated, so the scored tokens do not depend on the end of the
prompt. If the tokenizer adds a BOS token, it is the first token and is never scored. Without BOS and prompt, the first
token is not scored: it has no preceding token.

The prompt of a chat is the tokenizer's chat template applied to the chat, up to the first word of the last message.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.types import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokens:
    """Token ids packed end to end: text i is `ids[starts[i]:starts[i+1]]`; its tokens from index `first[i]` are scored.

    `texts` are the texts after truncation. `cut` is the number of tokens removed from each text.
    """

    ids: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " texts_plus_one"]
    first: Int[np.ndarray, " texts"]
    cut: Int[np.ndarray, " texts"]
    texts: Texts

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.first)

    @property
    def lengths(self) -> Int[np.ndarray, " texts"]:
        """Number of tokens of each text, including prompt and BOS."""
        return np.diff(self.starts)

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
        return digest.hexdigest()


def bos_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that the tokenizer puts before every text: a BOS token, or nothing."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return list(full[:start])
    return []


def chat_prompt(tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], *, location: str) -> str:
    """Return the text that the tokenizer's chat template puts before the content of the last (assistant) message.

    Raises `DataError` with `location` if the tokenizer has no chat template, or if the template rejects the chat or
    leaves out the message.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise DataError(
            f"{location}: the tokenizer has no chat template for this chat. "
            "Set tokenizer.chat_template, or choose a model that has a chat template."
        )
    answer = chat_messages.assistant_text(chat[-1])
    try:
        rendered, generation_prompt = (
            _apply_chat_template(tokenizer, chat, add_generation_prompt=False),
            _apply_chat_template(tokenizer, chat[:-1], add_generation_prompt=True),
        )
    except (TemplateError, ValueError, TypeError, LookupError) as error:
        raise DataError(
            f"{location}: the tokenizer's chat template rejects this chat ({error}). "
            "Change the chat to the roles and order that the template accepts."
        ) from error
    # Search after the generation prompt: a short answer may also occur in the template's own text.
    start = (
        rendered.find(answer, len(generation_prompt))
        if rendered.startswith(generation_prompt)
        else rendered.rfind(answer)
    )
    if start < 0:
        raise DataError(
            f"{location}: the tokenizer's chat template leaves out the assistant's message. "
            "Write the record as prompt and completion."
        )
    return rendered[:start]


def _apply_chat_template(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], *, add_generation_prompt: bool
) -> str:
    if not chat:
        return ""
    rendered = str(
        tokenizer.apply_chat_template(
            [dict(t) for t in chat], tokenize=False, add_generation_prompt=add_generation_prompt
        )
    )
    # `tokenize` adds the tokenizer's BOS; a BOS from the template would be a second one.
    return rendered.removeprefix(str(tokenizer.bos_token)) if tokenizer.bos_token_id in bos_ids(tokenizer) else rendered


def render_chats(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> Texts:
    """Return the texts with chats rendered as prompts. Raises `DataError` as `chat_prompt` does."""
    if not any(texts.chats):
        return texts
    prompts = tuple(
        chat_prompt(tokenizer, chat_messages.decode_chat(chat), location=f"text {name!r}") if chat else prompt
        for name, prompt, chat in zip(texts.ids, texts.prompts, texts.chats, strict=True)
    )
    return Texts(texts.ids, texts.scored, prompts)


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Texts, max_tokens: int) -> Tokens:
    """Return the texts' tokens, at most `max_tokens` each (including BOS and prompt), with chats rendered.

    Truncation removes the start of the prompt first, because the end of the prompt conditions the completion most, then
    the end of the scored part. Raises `DataError` for a text without a scored token.
    """
    texts = render_chats(tokenizer, texts)
    bos = bos_ids(tokenizer)
    prompts = _plain_ids(tokenizer, texts.prompts)
    scored = _plain_ids(tokenizer, texts.scored)
    rows: list[list[int]] = []
    first: list[int] = []
    truncated = list(texts.scored)
    cut: list[int] = []
    for i, (prompt, text) in enumerate(zip(prompts, scored, strict=True)):
        excess = len(bos) + len(prompt) + len(text) - max_tokens
        cut.append(max(excess, 0))
        prompt_part, text_part = prompt, text
        if excess > 0:
            # One prompt token stays, so that the first token of the completion has a preceding token.
            removable = max(len(prompt) - 1, 0)
            prompt_part = prompt[min(excess, removable) :]
            if excess > removable:
                text_part = text[: max(len(text) - (excess - removable), 0)]
                truncated[i] = tokenizer.decode(text_part)
        row = [*bos, *prompt_part, *text_part]
        start = max(len(bos) + len(prompt_part), 1)
        if start >= len(row):
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
    )


def _plain_ids(tokenizer: PreTrainedTokenizerBase, strings: tuple[str, ...]) -> list[list[int]]:
    if not any(strings):
        return [[] for _ in strings]
    return tokenizer(list(strings), add_special_tokens=False)["input_ids"]
