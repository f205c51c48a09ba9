"""Your own texts, from a JSONL, CSV, Parquet or plain-text file, or from a folder of them.

Source and license: yours. A file holds one text a row, either in one field (scored whole) or as a prompt and its
completion (only the completion is scored); a plain-text file holds one text a line. A folder holds files named
train, test and validation, whose names are the published split.

Or a row holds a chat: `messages` of a `role` and a `content` each, as OpenAI's and TRL's data do (or `prompt` and
`completion` as lists of these). Each turn of the assistant is then a text of its own, prompted by all that was said
before in the base model's own chat template, and a chat is a group, so that `data` counts turns and never splits a
chat. Only the assistant's words are trained on and scored, the marks around them are not. Where a chat is too long
its beginning is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.types import Examples, Role
from byheart.data.pii import PiiKind, first_pii_values
from byheart.data.readers import (
    SPLIT_ROLES,
    Example,
    SourceRow,
    examples,
    nonempty_string_field,
    published_splits,
    read_rows,
    string_field,
)
from byheart.data.records import parse_record

REVISION = 1  # a field `group` is taken without being named


def files(  # noqa: PLR0913 - each setting names a field
    *,
    path: str,
    text: str | None = None,
    prompt: str | None = None,
    completion: str | None = None,
    messages: str | None = None,
    group: str | None = None,
    split: str | None = None,
    id: str | None = None,  # noqa: A002 - the setting is named as the field is
    attributes: tuple[str, ...] = (),
    pii: tuple[PiiKind, ...] = (),
) -> Examples:
    """Give the texts of a file or of a folder with files named train, test and validation.

    The settings name fields. Without `text`, `prompt` and `completion`, or `messages`, the fields of these names are taken.
    `group` is what belongs together and must not be split (a user, a document); without it a field of this name is taken.
    `split` holds train, test or validation, `attributes` are private values that stand in the text. `pii` is kinds of
    private values to be looked for in the text besides, of each the first that is found; it needs byheart[pii].
    Raises `DataError`, with the file and the line, for a file that cannot be read and for a row without a field or with an
    empty one.
    """
    place = Path(path).expanduser()
    whole: dict[str, list[SourceRow]]
    if place.is_dir():
        if split is not None:
            raise DataError(f"{path} is a folder, whose files' names are the split; leave out split: {split}")
        whole = {name: list(rows) for name, rows in published_splits(path).items()}
    else:
        whole = {place.stem: read_rows(place)}
    settings = {"text": text, "prompt": prompt, "completion": completion, "messages": messages}

    def parts() -> Iterator[Example]:
        for name, rows in whole.items():
            fields = _record_fields(rows[0], settings)
            belongs = group or ("group" if "group" in rows[0].fields else None)
            for number, row in enumerate(rows):
                known = Example(
                    f"{name}/{number}" if id is None else _identifier(row, id),
                    "",
                    role=_role(row, split) if split is not None else SPLIT_ROLES[name] if place.is_dir() else "pool",
                    group=None if belongs is None else _identifier(row, belongs),
                )
                for one in _row_examples(row, known, fields, attributes):
                    yield one._replace(attributes={**first_pii_values(one.scored, pii), **one.attributes})

    return examples(parts())


def _row_examples(
    row: SourceRow, template: Example, fields: Mapping[str, str], attributes: tuple[str, ...]
) -> Iterator[Example]:
    """Yield the row's text, or a text for each turn of the assistant."""
    record = parse_record(row.location, row.fields, **fields)
    turns = record.messages
    if not turns:
        values = _private_attributes(row, attributes, record.text)
        yield template._replace(scored=record.text, prompt=record.prompt, attributes=values)
        return
    scored = list(chat_messages.assistant_turns(turns, record.first_turn))
    values = _private_attributes(row, attributes, "\n".join(words for _, words in scored))
    for i, words in scored:
        yield template._replace(
            id=f"{template.id}#{i}",
            scored=words,
            prompt=chat_messages.plain_text_chat(turns[:i]),
            group=template.group or template.id,
            attributes={field: value for field, value in values.items() if value in words},
            chat=chat_messages.encode_chat(turns[: i + 1]),
        )


def _record_fields(row: SourceRow, settings: Mapping[str, str | None]) -> dict[str, str]:
    """Return the fields that every record is parsed by: `text`, or `text` and `prompt`, or `messages`."""
    text, prompt, completion, messages = (settings[n] for n in ("text", "prompt", "completion", "messages"))
    if text is not None and (prompt or completion) is not None:
        raise DataError(f"text: {text} and prompt or completion exclude each other. Write one or the other.")
    if messages is not None and (text or prompt or completion) is not None:
        raise DataError(f"messages: {messages} excludes text, prompt and completion. Write messages alone.")
    if text is not None:
        return {"text": text}
    if messages is not None:
        return {"messages": messages}
    if (prompt is None) != (completion is None):
        raise DataError("prompt and completion: only one of them is set. Write both, or text alone.")
    if prompt is not None and prompt == completion:
        return {"messages": prompt}  # a chat is both
    if prompt is None and "text" in row.fields:
        return {"text": "text"}
    pair = {"prompt": prompt or "prompt", "text": completion or "completion"}
    if prompt is None and not all(field in row.fields for field in pair.values()):
        if "messages" in row.fields:
            return {"messages": "messages"}
        raise DataError(
            f"{row.location}: no field text, prompt and completion, or messages; available fields: {', '.join(row.fields)}. "
            "Write text: FIELD, or prompt: FIELD and completion: FIELD, or messages: FIELD."
        )
    return pair


def _identifier(row: SourceRow, field: str) -> str:
    """Return a field that only tells rows apart, as a string: numbers will do."""
    value = row.fields.get(field)
    return str(value) if isinstance(value, int) else nonempty_string_field(row, field)


def _role(row: SourceRow, field: str) -> Role:
    value = nonempty_string_field(row, field)
    if value not in SPLIT_ROLES:
        raise DataError(f"{row.location}: {field!r} is {value!r}; choices: {', '.join(SPLIT_ROLES)}")
    return SPLIT_ROLES[value]


def _private_attributes(row: SourceRow, fields: tuple[str, ...], text: str) -> dict[str, str]:
    """Return the row's private values; a row may lack one, but what it has must stand in its text."""
    values = {field: string_field(row, field) for field in fields if row.fields.get(field)}
    for field, value in values.items():
        if value not in text:
            raise DataError(f"{row.location}: {field!r} is {value!r}, which does not stand in the text")
    return values
