"""Chats: lists of messages with a `role` and a `content`, and what of them is scored.

Only what the assistant says is scored: each of its turns is a text of its own, prompted by all that was said before.
That is what training on the assistant's words alone is (completion-only loss, TRL's `assistant_only_loss`): every word
of the assistant counts once, given the same words before it. The marks that end a turn are not scored, which are the
same in all chats.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from byheart.core.errors import DataError

Message = Mapping[str, Any]


def check_chat(place: str, messages: Sequence[Any], first_turn: int = 0) -> None:
    """Raise `DataError` for what is no chat, and for one whose assistant says nothing from turn `begin` on."""
    for turn in messages:
        if not isinstance(turn, Mapping) or not isinstance(cast("Message", turn).get("role"), str):
            raise DataError(f"{place}: each of its messages needs a `role` and a `content`")
    if not any(assistant_text(turn) for turn in messages[first_turn:]):
        raise DataError(f"{place} holds no words of the assistant, and only those are scored; remove it")


def assistant_text(turn: Message) -> str:
    """Return the assistant's words of a turn; "" for anybody else's, and where it said none (it called a tool)."""
    words = turn.get("content")
    return words.strip() if turn["role"] == "assistant" and isinstance(words, str) else ""


def assistant_turns(messages: Sequence[Message], first_turn: int = 0) -> Iterator[tuple[int, str]]:
    """Yield each turn at which the assistant says something, from turn `begin` on: its number and the words."""
    return ((i, words) for i in range(first_turn, len(messages)) if (words := assistant_text(messages[i])))


def encode_chat(messages: Sequence[Message]) -> str:
    """Return messages as a string that tells them from any other messages."""
    return json.dumps([dict(turn) for turn in messages], sort_keys=True)


def decode_chat(chat: str) -> list[Message]:
    """Return the messages of such a string."""
    return json.loads(chat)


def plain_text_chat(messages: Sequence[Message]) -> str:
    """Return messages as a reader would write them, for what knows no model's template: "user: ...", a line each."""
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in messages if isinstance(turn.get("content"), str))
