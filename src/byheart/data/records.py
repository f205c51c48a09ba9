"""Parse a record of a data set: the string or the chat that is scored, and its prompt.

A record is a text, a prompt and its completion (strings, or lists of messages), a chat (`messages`), or `instruction`,
`input` and `output` as in Stanford Alpaca's data. Studies name the fields, audits accept every shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from byheart.core import chat_messages
from byheart.core.errors import DataError

RECORD_SHAPES = "`text`, `prompt` + `completion`, `messages`, or `instruction` + `output`"
"""The fields of each shape, for error messages."""

ALPACA_PROMPT = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n{input}### Response:"
)
"""The prompt that Stanford Alpaca's data set was published with."""
ALPACA_PAIRED = ", paired with an input that provides further context"


@dataclass(frozen=True)
class ParsedRecord:
    """A scored `text` with its `prompt`, or a chat: `messages`, scored from message `first_turn` on."""

    prompt: str = ""
    text: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    first_turn: int = 0


def parse_record(
    location: str,
    fields: Mapping[str, Any],
    *,
    text: str | None = None,
    prompt: str | None = None,
    messages: str | None = None,
) -> ParsedRecord:
    """Return the string or the chat of a record; `location` begins the error messages.

    `text` names the scored field, `prompt` the field before it and `messages` the field of a chat; then no other field is
    read, and `text` and `prompt` may be lists of messages. Without names, the first shape that fits is used: `messages`,
    `prompt` and `completion`, `text`, `instruction` and `output`.
    Raises `DataError` for another shape, an empty text, a chat without assistant text, and half a surrogate pair.
    """
    if messages is not None:
        if not _is_list(turns := fields.get(messages)):
            raise DataError(
                f"{location}: {messages!r} is not a list of messages. Write text: {messages} if it is a string."
            )
        return _chat_record(location, [], turns)
    if text is not None:
        context, scored = [] if prompt is None else fields.get(prompt), fields.get(text)
        if _is_list(context) and _is_list(scored):
            return _chat_record(location, context, scored)
        scored = nonempty_string_value(location, fields, text)
        return ParsedRecord("" if prompt is None else string_value(location, fields, prompt), scored)
    return _record_of_first_shape(location, fields)


def _record_of_first_shape(location: str, fields: Mapping[str, Any]) -> ParsedRecord:
    prompt, completion = fields.get("prompt"), fields.get("completion")
    if _is_list(turns := fields.get("messages")):
        return _chat_record(location, [], turns)
    if _is_list(prompt) and _is_list(completion):
        return _chat_record(location, prompt, completion)
    if isinstance(prompt, str) and isinstance(completion, str):
        return _text_record(location, prompt, completion)
    if isinstance(text := fields.get("text"), str):
        return _text_record(location, "", text)
    instruction, extra_input, output = fields.get("instruction"), fields.get("input") or "", fields.get("output")
    if isinstance(instruction, str) and isinstance(extra_input, str) and isinstance(output, str):
        return _text_record(location, _alpaca_prompt(instruction, extra_input), output)
    names = ", ".join(map(str, fields)) or "none"
    raise DataError(f"{location}: unknown record shape with the fields {names}. Write {RECORD_SHAPES}.")


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _chat_record(location: str, context: Sequence[Any], scored: Sequence[Any]) -> ParsedRecord:
    turns = (*context, *scored)
    chat_messages.check_chat(location, turns, len(context))
    check_characters(f"{location}: a message", turns)
    return ParsedRecord(messages=turns, first_turn=len(context))


def _text_record(location: str, prompt: str, text: str) -> ParsedRecord:
    if not text.strip():
        raise DataError(f"{location}: the text is empty. Remove it.")
    check_characters(f"{location}: the record", [prompt, text])
    return ParsedRecord(prompt, text)


def _alpaca_prompt(instruction: str, extra_input: str) -> str:
    return ALPACA_PROMPT.format(
        paired=ALPACA_PAIRED if extra_input else "",
        instruction=instruction,
        input=f"### Input:\n{extra_input}\n\n" if extra_input else "",
    )


def string_value(location: str, fields: Mapping[str, Any], field: str) -> str:
    """Return a field's string, which may be empty.

    Raises `DataError` if the field is missing, not a string, or not Unicode text.
    """
    if field not in fields:
        raise DataError(f"{location}: no field {field!r}. Available fields: {', '.join(fields) or 'none'}.")
    value = fields[field]
    if not isinstance(value, str):
        raise DataError(
            f"{location}: {field!r} is {json.dumps(value, default=str)[:40]}, not a string. Write a string or name another field."
        )
    check_characters(f"{location}: {field!r}", value)
    return value


def nonempty_string_value(location: str, fields: Mapping[str, Any], field: str) -> str:
    """Return a field's string. Raises `DataError` as `string_value` does, and for a blank string."""
    value = string_value(location, fields, field)
    if not value.strip():
        raise DataError(f"{location}: {field!r} is empty. Remove the record or name another field.")
    return value


def check_characters(location: str, value: object) -> None:
    """Raise `DataError` if a string, or one within messages, contains half a surrogate pair."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # JSON can encode half a surrogate pair, which no tokenizer, hash or compressor accepts.
        raise DataError(
            f"{location} contains half a surrogate pair (U+D800 to U+DFFF), which is not a character. Remove it."
        ) from error
