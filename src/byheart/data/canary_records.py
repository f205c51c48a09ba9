"""Put another text where a record's loss is: its text, its completion, or the last assistant message of its chat.

All other fields of the record stay, so that the new record trains like the data's own records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.data.records import RECORD_SHAPES, ParsedRecord, matching_shapes, parse_record

Record = Mapping[str, Any]

PREFERENCE_FIELDS = {"chosen", "rejected"}


def scored_field(location: str, record: Record, field_names: Mapping[str, str]) -> str:
    """Return the name of the field with a record's loss; `field_names` are the data's names for `text`, `prompt`, `completion`, `messages`.

    Raises `DataError` for preference pairs, which train on the difference of two texts, and for another record shape.
    """
    if field_names:
        name = field_names.get("messages") or field_names.get("completion") or field_names.get("text", "")
        if not name:
            raise DataError(
                f"field names: {', '.join(field_names)} names no field with a loss. Name text, completion or messages, too."
            )
        if name not in record:
            raise DataError(
                f"{location}: no field {name!r}. Available fields: {', '.join(map(str, record)) or 'none'}."
            )
        return name
    shapes = matching_shapes(record)
    if not shapes:
        shown = ", ".join(map(str, record)) or "none"
        raise DataError(
            f"{location}: unknown record shape; the record has the fields {shown}. Write {RECORD_SHAPES}, or name the fields."
        )
    shape = next((s for s in shapes if s.fits([record[n] for n in s.required])), shapes[0])
    if set(shape.required) == PREFERENCE_FIELDS:
        raise DataError(
            f"{location}: canaries cannot be planted in preference pairs, because their loss compares two texts. "
            "Plant canaries in the data of supervised fine-tuning."
        )
    return shape.required[-1]


def parsed(location: str, record: Record, field_names: Mapping[str, str]) -> ParsedRecord:
    """Return the prompt and text, or the chat, of a record. Raises `DataError` as `parse_record` does."""
    if not field_names:
        return parse_record(location, record)
    return parse_record(
        location,
        record,
        text=field_names.get("completion") or field_names.get("text"),
        prompt=field_names.get("prompt"),
        messages=field_names.get("messages"),
    )


def scored_text(location: str, record: Record, field_names: Mapping[str, str]) -> str:
    """Return the text with the loss: that of the last scored assistant message of a chat."""
    content = parsed(location, record, field_names)
    if not content.messages:
        return content.text
    return chat_messages.last_assistant_turn(content.messages, content.first_turn)[1]


def with_scored_text(location: str, record: Record, text: str, field_names: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of a record whose scored text is `text`; messages after the last assistant message are left out."""
    name, content = scored_field(location, record, field_names), parsed(location, record, field_names)
    if not content.messages:
        return {**record, name: text}
    position, _ = chat_messages.last_assistant_turn(content.messages, content.first_turn)
    value = record[name]
    turns: list[Any] = list(json.loads(value) if isinstance(value, str) else cast("Sequence[Any]", value))
    last = position - (len(content.messages) - len(turns))
    turns = [*turns[:last], _with_content(turns[last], text)]
    return {**record, name: json.dumps(turns, ensure_ascii=False) if isinstance(value, str) else turns}


def _with_content(message: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a message with another content: under the message's own key, and in parts if its content is a list of parts."""
    key = "content" if "role" in message else "value"
    content: Any = [{"type": "text", "text": text}] if isinstance(message.get(key), list) else text
    return {**message, key: content}
