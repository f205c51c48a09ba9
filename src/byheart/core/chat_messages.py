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

TOOLS = "tools"
"""Key of a chat's first message under which the chat's tools are stored, for the chat template."""

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "model", "bot", "chatgpt"), "assistant"),
}
"""Names of roles in data sets, and the role that chat templates expect."""

SHAREGPT_ROLES: Mapping[str, str] = {**ROLES, **dict.fromkeys(("function", "observation", "function_response"), "tool")}


def standard_chat(place: str, messages: Sequence[Any], tools: Any = None) -> tuple[Message, ...]:
    """Return a chat's messages with `role` and `content`, as OpenAI's and TRL's data have them.

    ShareGPT's `from` and `value` become `role` and `content`, names of roles become the standard ones, and a content of text
    parts one string. `tools` are stored with the first message. Raises `DataError` for a message without a role, and for a
    part that is not text.
    """
    chat = [_standard_message(place, message) for message in messages]
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise DataError(f"{place}: `tools` is a string that is not JSON. Write a list of tools.") from error
    if tools:
        if not isinstance(tools, Sequence) or not all(
            isinstance(tool, Mapping) for tool in cast("Sequence[Any]", tools)
        ):
            raise DataError(f"{place}: `tools` is not a list of objects. Write a list of tools, or remove the field.")
        chat[:1] = [{**message, TOOLS: tools} for message in chat[:1]]
    return tuple(chat)


def _standard_message(place: str, message: Any) -> Message:
    if not isinstance(message, Mapping):
        raise DataError(f"{place}: a message is not an object. Write each message with a `role` and a `content`.")
    fields, roles = dict(cast("Message", message)), ROLES
    if "role" not in fields and isinstance(fields.get("from"), str):
        fields["role"], fields["content"] = fields.pop("from"), fields.pop("value", None)
        roles = SHAREGPT_ROLES
    role = fields.get("role")
    if not isinstance(role, str):
        raise DataError(f"{place}: a message has no `role`. Write each message with a `role` and a `content`.")
    fields["role"] = roles.get(role, role)
    if isinstance(content := fields.get("content"), list):
        fields["content"] = "".join(_part_text(place, part) for part in cast("list[Any]", content))
    return fields


def _part_text(place: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    fields = cast("Mapping[str, Any]", part) if isinstance(part, Mapping) else {}
    if fields.get("type") == "text" and isinstance(fields.get("text"), str):
        return fields["text"]
    kind = fields.get("type", type(part).__name__)
    raise DataError(
        f"{place}: a message has a part of type {kind!r}, and only text is read. Remove the part or the chat."
    )


def check_chat(place: str, messages: Sequence[Any], first_turn: int = 0) -> None:
    """Raise `DataError` for a chat without assistant text from message `first_turn` on."""
    if not any(assistant_text(message) for message in messages[first_turn:]):
        roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
        raise DataError(
            f"{place}: the chat has no assistant text, and only assistant text is scored (its roles: {roles or 'none'}). "
            "Remove the chat, or name the role `assistant`."
        )


def assistant_text(turn: Message) -> str:
    """Return the text of an assistant message; "" for other roles, and for messages that training gives no loss.

    These are messages without text (a tool call), and messages of `weight` 0 in OpenAI's fine-tuning format.
    """
    content = turn.get("content")
    is_scored = turn["role"] == "assistant" and turn.get("weight") != 0
    return content.strip() if is_scored and isinstance(content, str) else ""


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
