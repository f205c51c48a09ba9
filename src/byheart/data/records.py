"""Parse a record of a data set: the string or the chat that is scored, and its prompt.

| shape | fields | scored |
| --- | --- | --- |
| text | `text` | the text |
| prompt and completion | `prompt` + `completion` or `response`, `question` + `answer` (strings, or lists of messages) | the second field |
| OpenAI, TRL | `messages` of `role` and `content`, `tools` or `functions`, `system` | each assistant message, unless its `weight` is 0 |
| ShareGPT | `conversations` of `from` and `value`, `tools`, `system` | each message of `gpt` |
| Alpaca | `instruction`, `input`, `output` | `output`, after Alpaca's prompt |
| Dolly | `instruction`, `context`, `response` | `response`, after Alpaca's prompt with the context as its input |
| preference pair | `prompt` (or `instruction`, `conversations`), `chosen`, `rejected` | `chosen`, or `rejected` |

A list of messages may also be a string that contains it as JSON, as in CSV files. Studies may name the fields; without names
the first shape that fits is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.data.record_fields import (
    check_characters,
    is_missing,
    nonempty_string_value,
    shown_value,
    string_value,
    without_arrays,
)

RECORD_SHAPES = (
    "`text`, `prompt` + `completion`, `messages`, `conversations`, `instruction` + `output`, `instruction` + `response`, "
    "`question` + `answer`, or `prompt` + `chosen` + `rejected`"
)
"""The fields of each shape, for error messages."""

ALPACA_PROMPT = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n{input}### Response:"
)
"""The prompt that Stanford Alpaca's data set was published with."""
ALPACA_PAIRED = ", paired with an input that provides further context"


@dataclass(frozen=True)
class ParsedRecord:
    """A scored `text` with its `prompt`, or a chat: `messages`, scored from message `first_turn` on.

    A record that is read as a preference pair also has its `rejected` response; its chat ends with the chosen one.
    """

    prompt: str = ""
    text: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    first_turn: int = 0
    rejected: str = ""


def parse_record(
    location: str,
    fields: Mapping[str, Any],
    *,
    text: str | None = None,
    prompt: str | None = None,
    messages: str | None = None,
    response: Literal["chosen", "rejected"] = "chosen",
) -> ParsedRecord:
    """Return the string or the chat of a record; `location` begins the error messages.

    `text` names the scored field, `prompt` the field before it and `messages` the field of a chat; then no other field is
    read (except a chat's `tools`, `functions` and `system`), and `text` and `prompt` may be lists of messages. Without names, the
    first shape that fits is used.
    `response` chooses the scored side of a preference pair (`preference_records.py` reads both sides).
    Raises `DataError` for another shape, an empty text, a chat without assistant text, and half a surrogate pair.
    """
    # pandas reads lists of Parquet files as arrays.
    fields = {n: without_arrays(v) if isinstance(v, np.ndarray) else v for n, v in fields.items()}
    if messages is not None:
        turns = _messages(fields.get(messages))
        if turns is None:
            raise DataError(
                f"{location}: {messages!r} is not a list of messages. Write text: {messages} if it is a string."
            )
        return _chat_record(location, [], turns, fields)
    if text is not None:
        context, scored = [] if prompt is None else _messages(fields.get(prompt)), _messages(fields.get(text))
        if context is not None and scored is not None:
            return _chat_record(location, context, scored, fields)
        scored = nonempty_string_value(location, fields, text)
        return ParsedRecord("" if prompt is None else string_value(location, fields, prompt), scored)
    return _record_of_first_shape(location, fields, response)


def _record_of_first_shape(location: str, fields: Mapping[str, Any], response: str) -> ParsedRecord:
    shapes = matching_shapes(fields)
    if not shapes:
        names = ", ".join(map(str, fields)) or "none"
        example = next((n for n, v in fields.items() if isinstance(v, str) and n not in {"id", "group"}), "NAME")
        raise DataError(
            f"{location}: unknown record shape; the record has the fields {names}. Write {RECORD_SHAPES}, or pass --fields "
            f"text={example} (in Python, rename the field)."
        )
    shape = next((s for s in shapes if s.fits([fields[n] for n in s.required])), shapes[0])
    return shape.parse(location, fields, shape.required, response)


def matching_shapes(fields: Mapping[str, Any]) -> list[_Shape]:
    """Return the shapes whose fields a record has, in the order in which they are tried."""
    return [shape for shape in SHAPES if set(shape.required) <= fields.keys()]


def _parse_chat(location: str, fields: Mapping[str, Any], names: Sequence[str], _: str) -> ParsedRecord:
    turns = _messages(fields[names[0]])
    if turns is None:
        raise DataError(
            f"{location}: {names[0]!r} is {shown_value(fields[names[0]])}, not a list of messages. Write a list of messages."
        )
    return _chat_record(location, [], turns, fields)


def _parse_text(location: str, fields: Mapping[str, Any], names: Sequence[str], _: str) -> ParsedRecord:
    return _text_record(location, "", string_value(location, fields, names[0]))


def _parse_pair(location: str, fields: Mapping[str, Any], names: Sequence[str], _: str) -> ParsedRecord:
    context, scored = (_messages(fields[name]) for name in names)
    if context is not None and scored is not None:
        return _chat_record(location, context, scored, fields)
    prompt, completion = (string_value(location, fields, name) for name in names)
    return _text_record(location, prompt, completion)


def _parse_instruction(location: str, fields: Mapping[str, Any], names: Sequence[str], _: str) -> ParsedRecord:
    for name in ("system", "history"):
        if isinstance(fields.get(name), str | list | tuple) and fields[name]:
            raise DataError(
                f"{location}: has the field {name!r}, which Alpaca's prompt does not contain. Write the record as `messages`, or "
                "remove the field if training did not use it."
            )
    extra = "input" if names[1] == "output" else "context"
    context = "" if is_missing(fields.get(extra)) else string_value(location, fields, extra)
    instruction, output = (string_value(location, fields, name) for name in names)
    return _text_record(location, _alpaca_prompt(instruction, context), output)


def _parse_preference(location: str, fields: Mapping[str, Any], _: Sequence[str], response: str) -> ParsedRecord:
    if isinstance(fields["chosen"], Mapping):  # LLaMA-Factory: the answer to `conversations`
        context = _messages(fields.get("conversations", fields.get("messages", fields.get("prompt"))))
        if context is None:
            raise DataError(f"{location}: a preference pair of messages has no `conversations`. Add the field.")
        return _chat_record(location, context, [fields[response]], fields)
    chosen, rejected, prompt = (_messages(fields.get(name)) for name in ("chosen", "rejected", "prompt"))
    is_chat = chosen is not None and rejected is not None
    if fields.get("prompt") is not None and (prompt is not None or not is_chat):
        return _parse_pair(location, fields, ("prompt", response), response)
    if not is_chat or chosen is None or rejected is None:
        if "instruction" in fields:
            names = ("instruction", response)
            return _parse_instruction(
                location, {"input": None, **fields, "context": fields.get("input")}, names, response
            )
        raise DataError(
            f"{location}: a preference pair of strings has no `prompt`. Add the field, or write lists of messages."
        )
    # The common first messages are the prompt, as in TRL's implicit prompts, also beside a prompt that is a string.
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0 and fields.get("prompt"):
        raise DataError(
            f"{location}: `prompt` is a string, and the responses are messages without it. Write it as messages."
        )
    turns = chosen if response == "chosen" else rejected
    return _chat_record(location, turns[:shared], turns[shared:], fields)


class _Shape(NamedTuple):
    """A shape of records: the fields that it requires, and the function that parses a record of it."""

    required: tuple[str, ...]
    parse: Callable[[str, Mapping[str, Any], Sequence[str], str], ParsedRecord]

    def fits(self, values: Sequence[object]) -> bool:
        """Whether the required fields are strings or lists of messages, all of one type."""
        if self.parse is _parse_chat:
            return _messages(values[0]) is not None
        kinds = (str, Mapping) if self.parse is _parse_preference else (str,)
        return any(all(isinstance(v, kind) for v in values) for kind in kinds) or all(_is_list(v) for v in values)


SHAPES = (
    _Shape(("chosen", "rejected"), _parse_preference),
    _Shape(("messages",), _parse_chat),
    _Shape(("conversations",), _parse_chat),
    _Shape(("prompt", "completion"), _parse_pair),
    _Shape(("text",), _parse_text),
    _Shape(("instruction", "output"), _parse_instruction),
    _Shape(("instruction", "response"), _parse_instruction),
    _Shape(("prompt", "response"), _parse_pair),
    _Shape(("question", "answer"), _parse_pair),
)
"""Shapes in the order in which they are tried. Preference pairs often have their chosen side as `messages` too."""


def _messages(value: object) -> Sequence[Any] | None:
    """Return a list of messages, also from a string that contains it as JSON; None for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
        return value if _is_list(value) and value and all(isinstance(m, dict) for m in value) else None
    return value if _is_list(value) else None


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _chat_record(
    location: str, context: Sequence[Any], scored: Sequence[Any], fields: Mapping[str, Any]
) -> ParsedRecord:
    system = fields.get("system")
    if isinstance(system, str) and system.strip() and not _is_system_message(next(iter((*context, *scored)), None)):
        message = {"role": "system", "content": system}
        context, scored = ([message, *context], scored) if context else (context, [message, *scored])
    tools, functions = (None if is_missing(fields.get(n)) else fields[n] for n in ("tools", "functions"))
    turns = chat_messages.standard_chat(location, (*context, *scored), tools, functions=functions)
    chat_messages.check_chat(location, turns, len(context))
    check_characters(f"{location}: a message", turns)
    return ParsedRecord(messages=turns, first_turn=len(context))


def _is_system_message(message: Any) -> bool:
    return isinstance(message, Mapping) and "system" in (message.get("role"), message.get("from"))


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
