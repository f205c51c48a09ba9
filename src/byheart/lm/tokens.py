"""Texts to token ids, once: the same ids are trained on and scored, whatever the method.

Prompt and completion are tokenised apart and joined, so that the scored tokens do not depend on where the prompt
ends. A BOS that the tokenizer adds by itself stands first, once, and is never scored. Without BOS and prompt the
first token cannot be scored: nothing comes before it.

The prompt of a chat is what was said before, written by the tokenizer's own template up to the answer's first word.
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
    """Token ids packed end to end: text i is `ids[starts[i]:starts[i+1]]`, scored from its `first[i]`-th token on.

    `texts` are the texts as scored: what was cut off is not in them. `cut` says how many tokens each text lost.
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
        """Tokens of each text, prompt and BOS included."""
        return np.diff(self.starts)

    @property
    def scored_starts(self) -> Int[np.ndarray, " texts_plus_one"]:
        """Offsets of the scored tokens, packed end to end."""
        return np.concatenate([[0], np.cumsum(self.lengths - self.first)])

    def scored_positions(self, chosen: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " rows"]:
        """Return where these texts' scored tokens stand among all scored tokens, text by text in this order."""
        offsets = self.scored_starts
        return np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in chosen])

    @functools.cached_property
    def scored_ids(self) -> Int[np.ndarray, " scored_tokens"]:
        """Ids of the scored tokens, packed end to end."""
        place = np.arange(len(self.ids)) - np.repeat(self.starts[:-1], self.lengths)
        return self.ids[place >= np.repeat(self.first, self.lengths)]

    @functools.cached_property
    def digest(self) -> str:
        """Content hash (32 hex digits) of what a model reads and of which tokens are scored."""
        whole = hashlib.blake2b(digest_size=16)
        for numbers in (self.starts, self.first, self.ids):
            whole.update(numbers.astype("<i8").tobytes())
        return whole.hexdigest()


def bos_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that the tokenizer puts before a text by itself (a BOS, or nothing)."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for at in range(len(whole) - len(plain) + 1):
        if whole[at : at + len(plain)] == plain:
            return list(whole[:at])
    return []


def chat_prompt(tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], *, location: str) -> str:
    """Return what the tokenizer's chat template puts before the words of a chat's last message, which is the assistant's.

    Raises `DataError`, which names the text by `place`, where there is no template, and where it cannot write this.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise DataError(
            f"{location} is a chat, and the tokenizer has no chat template; set one, or choose a model that has one"
        )
    said = chat_messages.assistant_text(chat[-1])
    try:
        whole, asked = (
            _apply_chat_template(tokenizer, chat, add_generation_prompt=False),
            _apply_chat_template(tokenizer, chat[:-1], add_generation_prompt=True),
        )
    except (TemplateError, ValueError, TypeError, LookupError) as error:
        raise DataError(f"{location}: the tokenizer's chat template refuses it ({error})") from error
    # Searched for behind what asks for it: a short answer may also stand in the marks around it.
    at = whole.find(said, len(asked)) if whole.startswith(asked) else whole.rfind(said)
    if at < 0:
        raise DataError(
            f"{location}: the tokenizer's chat template leaves out what the assistant says; write prompt and completion"
        )
    return whole[:at]


def _apply_chat_template(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], *, add_generation_prompt: bool
) -> str:
    if not chat:
        return ""
    whole = str(
        tokenizer.apply_chat_template(
            [dict(t) for t in chat], tokenize=False, add_generation_prompt=add_generation_prompt
        )
    )
    # A BOS that the template writes is put first again with the tokens, once, where the tokenizer adds one by itself.
    return whole.removeprefix(str(tokenizer.bos_token)) if tokenizer.bos_token_id in bos_ids(tokenizer) else whole


def render_chats(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> Texts:
    """Return the texts with their chats written out as prompts; raises `DataError` as `prompted` does."""
    if not any(texts.chats):
        return texts
    prompts = tuple(
        chat_prompt(tokenizer, chat_messages.decode_chat(chat), location=f"text {name!r}") if chat else prompt
        for name, prompt, chat in zip(texts.ids, texts.prompts, texts.chats, strict=True)
    )
    return Texts(texts.ids, texts.scored, prompts)


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Texts, max_tokens: int) -> Tokens:
    """Return the texts' tokens, at most `max_tokens` each (BOS and prompt included), chats written out.

    What is too long loses the beginning of its prompt first (what stands next to the completion conditions it
    most), then the end of its scored part. Raises `DataError` for a text without a token to score.
    """
    texts = render_chats(tokenizer, texts)
    bos = bos_ids(tokenizer)
    prompts = _plain_ids(tokenizer, texts.prompts)
    scored = _plain_ids(tokenizer, texts.scored)
    rows: list[list[int]] = []
    first: list[int] = []
    kept = list(texts.scored)
    cut: list[int] = []
    for i, (before, after) in enumerate(zip(prompts, scored, strict=True)):
        over = len(bos) + len(before) + len(after) - max_tokens
        cut.append(max(over, 0))
        lead, tail = before, after
        if over > 0:
            # One prompt token stays, so that the first token of the completion keeps something before it.
            spare = max(len(before) - 1, 0)
            lead = before[min(over, spare) :]
            if over > spare:
                tail = after[: max(len(after) - (over - spare), 0)]
                kept[i] = tokenizer.decode(tail)
        row = [*bos, *lead, *tail]
        start = max(len(bos) + len(lead), 1)
        if start >= len(row):
            mend = (
                "remove it or allow more tokens (max_tokens)"
                if over > 0
                else "remove it: nothing stands before its only token"
            )
            raise DataError(f"text {texts.ids[i]!r} has no token to score in its {len(row)} tokens; {mend}")
        rows.append(row)
        first.append(start)
    starts = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    ids = np.fromiter((t for r in rows for t in r), dtype=np.int64, count=int(starts[-1]))
    return Tokens(
        ids,
        starts,
        np.array(first, dtype=np.int64),
        np.array(cut, dtype=np.int64),
        Texts(texts.ids, tuple(kept), texts.prompts),
    )


def _plain_ids(tokenizer: PreTrainedTokenizerBase, strings: tuple[str, ...]) -> list[list[int]]:
    if not any(strings):
        return [[] for _ in strings]
    return tokenizer(list(strings), add_special_tokens=False)["input_ids"]
