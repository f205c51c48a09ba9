"""Chats: lists of messages with a `role` and a `content`, and which parts of them are scored.

Only assistant messages are scored. Each one is a separate text, and its prompt is all earlier messages of the chat. This
matches training with completion-only loss (TRL's `assistant_only_loss`): each assistant token counts once, after the same
context. End-of-turn tokens are not scored, because they are the same in all chats.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from byheart.core.errors import DataError

Message = Mapping[str, Any]


def check_chat(place: str, messages: Sequence[Any], first_turn: int = 0) -> None:
    """Raise `DataError` for a malformed chat, and for a chat without assistant text from message `first_turn` on."""
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(cast("Message", message).get("role"), str):
            raise DataError(f"{place}: a message has no `role`. Write each message with a `role` and a `content`.")
    if not any(assistant_text(message) for message in messages[first_turn:]):
        raise DataError(f"{place}: the chat has no assistant text, and only assistant text is scored. Remove the chat.")


def assistant_text(turn: Message) -> str:
    """Return the text of an assistant message; "" for other roles and for messages without text (a tool call)."""
    content = turn.get("content")
    return content.strip() if turn["role"] == "assistant" and isinstance(content, str) else ""


def assistant_turns(messages: Sequence[Message], first_turn: int = 0) -> Iterator[tuple[int, str]]:
    """Yield position and text of each assistant message with text, from message `first_turn` on."""
    return ((i, text) for i in range(first_turn, len(messages)) if (text := assistant_text(messages[i])))


def encode_chat(messages: Sequence[Message]) -> str:
    """Return messages as a string that is unique to them."""
    return json.dumps([dict(message) for message in messages], sort_keys=True)


def decode_chat(chat: str) -> list[Message]:
    """Return the messages that `encode_chat` wrote."""
    return json.loads(chat)


def plain_text_chat(messages: Sequence[Message]) -> str:
    """Return messages as plain text, one "role: content" line each, for code that has no chat template."""
    return "\n".join(
        f"{message['role']}: {message['content']}" for message in messages if isinstance(message.get("content"), str)
    )
