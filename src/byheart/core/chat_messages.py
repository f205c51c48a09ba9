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
    **dict.fromkeys(("gpt", "model", "bot", "chatgpt", "ai"), "assistant"),
    "tool_response": "tool",
}
"""Names of roles in data sets, in lower case, and the role that chat templates expect."""

SHAREGPT_ROLES: Mapping[str, str] = {**ROLES, **dict.fromkeys(("function", "observation", "function_response"), "tool")}

STANDARD_ROLES = ("user", "assistant", "system", "developer", "tool")
CALL_ROLES = ("function_call", "tool_call")
"""Roles of messages whose content is a tool call as JSON (LLaMA-Factory, ms-swift); chat templates expect `tool_calls`."""
UNTRAINED_FLAGS = ("train", "training", "loss")
"""Keys of a message whose value false means that training gives it no loss (axolotl, ms-swift)."""


def standard_chat(
    place: str, messages: Sequence[Any], tools: Any = None, *, functions: Any = None
) -> tuple[Message, ...]:
    """Return a chat's messages with `role` and `content`, as OpenAI's and TRL's data have them.

    ShareGPT's `from` and `value` become `role` and `content`, names of roles become the standard ones, and a content of text
    parts one string. `tools`, or OpenAI's former `functions`, are stored with the first message. Raises `DataError` for a message
    without a role, and for a part that is not text.
    """
    chat = [_standard_message(place, message) for message in messages]
    listed = _tool_list(place, "tools", tools)
    if not listed:
        listed = [{"type": "function", "function": f} for f in _tool_list(place, "functions", functions)]
    if listed:
        chat[:1] = [{**message, TOOLS: listed} for message in chat[:1]]
    return tuple(chat)


def _tool_list(place: str, field: str, tools: Any) -> Sequence[Message]:
    """Return the tools of a record's field, also from a string that contains them as JSON; [] without tools."""
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: `{field}` is a string that is not JSON. Write a list of {field}.") from error
    if not tools:
        return []
    if not isinstance(tools, Sequence) or not all(isinstance(tool, Mapping) for tool in cast("Sequence[Any]", tools)):
        raise DataError(f"{place}: `{field}` is not a list of objects. Write a list of {field}, or remove the field.")
    return cast("Sequence[Message]", tools)


def _standard_message(place: str, message: Any) -> Message:
    if not isinstance(message, Mapping):
        raise DataError(f"{place}: a message is not an object. Write each message with a `role` and a `content`.")
    fields, roles = dict(cast("Message", message)), ROLES
    if not all(isinstance(name, str) for name in cast("Mapping[Any, Any]", fields)):
        raise DataError(f"{place}: a message has a field whose name is not a string. Write a `role` and a `content`.")
    if "role" not in fields and isinstance(fields.get("from"), str):
        fields["role"], fields["content"] = fields.pop("from"), fields.pop("value", None)
        roles = SHAREGPT_ROLES
    role = fields.get("role")
    if not isinstance(role, str):
        raise DataError(f"{place}: a message has no `role`. Write each message with a `role` and a `content`.")
    known = role.strip().lower()
    if known in CALL_ROLES:
        return {**fields, "role": "assistant", "content": "", "tool_calls": _tool_calls(place, fields.get("content"))}
    fields["role"] = roles.get(known, known if known in STANDARD_ROLES else role)
    if isinstance(content := fields.get("content"), list):
        fields["content"] = "".join(_part_text(place, part) for part in cast("list[Any]", content))
    return fields


def _tool_calls(place: str, content: Any) -> list[Message]:
    """Return the calls in the content of a message of `CALL_ROLES`, in OpenAI's format."""
    try:
        calls = json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError):
        calls = None
    calls = cast("list[Any]", calls if isinstance(calls, list) else [calls])
    if not all(isinstance(call, Mapping) and "name" in call and "arguments" in call for call in calls):
        raise DataError(
            f"{place}: a tool call is not JSON with `name` and `arguments`. Write it so, or as `tool_calls` of an assistant message."
        )
    return [{"type": "function", "function": dict(cast("Message", call))} for call in calls]


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
        names = dict.fromkeys(message["role"] for message in messages)
        roles = ", ".join(name if name.isprintable() else ascii(name) for name in names)[:200]
        raise DataError(
            f"{place}: the chat has no assistant text, and only assistant text is scored (its roles: {roles or 'none'}). "
            "Remove the chat, name the role `assistant`, or correct the fields that exclude messages from the loss "
            f"(weight, {', '.join(UNTRAINED_FLAGS)})."
        )


def assistant_text(turn: Message) -> str:
    """Return the text of an assistant message; "" for other roles, and for messages that training gives no loss.

    These are messages without text (a tool call), messages of `weight` 0 in OpenAI's fine-tuning format, and those of
    `UNTRAINED_FLAGS`.
    """
    content = turn.get("content")
    is_trained = turn.get("weight") not in (0, "0") and not any(turn.get(flag) is False for flag in UNTRAINED_FLAGS)
    is_scored = turn["role"] == "assistant" and is_trained
    return content.strip() if is_scored and isinstance(content, str) else ""


def assistant_turns(messages: Sequence[Message], first_turn: int = 0) -> Iterator[tuple[int, str]]:
    """Yield position and text of each assistant message with text, from message `first_turn` on."""
    return ((i, text) for i in range(first_turn, len(messages)) if (text := assistant_text(messages[i])))


def last_assistant_turn(messages: Sequence[Message], first_turn: int = 0) -> tuple[int, str]:
    """Return position and text of the last assistant message with text, of a chat that `check_chat` accepts."""
    *_, last = assistant_turns(messages, first_turn)
    return last


def encode_chat(messages: Sequence[Message]) -> str:
    """Return messages as a string that is unique to them."""
    return json.dumps([dict(message) for message in messages], sort_keys=True)


def decode_chat(chat: str) -> list[Message]:
    """Return the messages that `encode_chat` wrote."""
    return json.loads(chat)


def with_last_text(chat: str, text: str) -> str:
    """Return an encoded chat with another text in its last message."""
    *earlier, last = decode_chat(chat)
    return encode_chat([*earlier, {**last, "content": text}])


def plain_text_chat(messages: Sequence[Message]) -> str:
    """Return messages as plain text, one "role: content" line each, for code that has no chat template."""
    return "\n".join(
        f"{message['role']}: {message['content']}" for message in messages if isinstance(message.get("content"), str)
    )
