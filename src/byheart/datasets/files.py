"""Your own texts, from a JSONL, CSV, Parquet or plain-text file, or from a folder of such files.

Source and license: yours. A file contains one record per row: either one field (scored completely), or a prompt and its
completion (only the completion is scored). A plain-text file contains one text per line. A folder contains files named
train, test and validation, which define the published split.

Alternatively a row is a chat: `messages` of a `role` and a `content` each, as in OpenAI's and TRL's data (or `prompt` and
`completion` as lists of messages). Each assistant message is a text of its own, with all preceding messages as its prompt
in the base model's own chat template. A chat is a group, so `data` counts assistant messages and never splits a chat. Only
the assistant's words are trained on and scored, without the template's tokens around them. If a chat is too long, its
beginning is truncated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.paths import expanded
from byheart.core.split import Examples, Role
from byheart.data.formats import SourceRow
from byheart.data.pii import PiiKind, first_pii_values
from byheart.data.readers import SPLIT_ROLES, Example, examples, nonempty_string_field, published_splits, string_field
from byheart.data.record_fields import identifier
from byheart.data.records import RECORD_SHAPES, SHAPES, parse_record
from byheart.data.sources import read_source

REVISION = 1  # a field named `group` is used by default


def files(  # noqa: PLR0913 - one setting per field
    *,
    path: str,
    text: str | None = None,
    prompt: str | None = None,
    completion: str | None = None,
    messages: str | None = None,
    group: str | None = None,
    split: str | None = None,
    id: str | None = None,  # noqa: A002 - the setting has the field's name
    attributes: tuple[str, ...] = (),
    pii: tuple[PiiKind, ...] = (),
) -> Examples:
    """Return the texts of a file, or of a folder with files named train, test and validation.

    The settings name fields. Without `text`, `prompt` and `completion`, or `messages`, the fields of these names are used,
    or else the first shape that fits (Alpaca, Dolly, ShareGPT, question and answer, preference pairs: docs/formats.md).
    `group` is the field of records that must not be split (a user, a document); the default is a field named `group`.
    `split` is a field with train, test or validation. `attributes` are fields with private values that occur in the text or
    in its prompt. `pii` lists kinds of private values to detect in the text; the first value of each kind is used. It requires
    byheart[pii]. Raises `DataError`, with the file and the line, for a file that cannot be read and for a row without a
    field or with an empty one.
    """
    location = expanded(path)
    is_folder = location.is_dir()
    if is_folder and split is not None:
        raise DataError(f"{path}: is a folder, and the names of its files define the split. Leave out split: {split}.")
    rows_by_name: dict[str, list[SourceRow]] = (
        {name: list(rows) for name, rows in published_splits(path).items()}
        if is_folder
        else {location.stem: read_source(path)}
    )
    settings = {"text": text, "prompt": prompt, "completion": completion, "messages": messages}

    def parts() -> Iterator[Example]:
        for name, rows in rows_by_name.items():
            fields = _record_fields(rows[0], settings)
            group_field = group or ("group" if "group" in rows[0].fields else None)
            for number, row in enumerate(rows):
                template = Example(
                    f"{name}/{number}" if id is None else _identifier(row, id),
                    "",
                    role=_role(row, split) if split is not None else SPLIT_ROLES[name] if is_folder else "pool",
                    group=None if group_field is None else _identifier(row, group_field),
                )
                for example in _row_examples(row, template, fields, attributes):
                    detected = first_pii_values(example.scored, pii)
                    yield example._replace(attributes={**detected, **example.attributes})

    return examples(parts())


def _row_examples(
    row: SourceRow, template: Example, fields: Mapping[str, str], attributes: tuple[str, ...]
) -> Iterator[Example]:
    """Yield the row's text, or one text per assistant message."""
    text, prompt, messages = (fields.get(name) for name in ("text", "prompt", "messages"))
    record = parse_record(row.location, row.fields, text=text, prompt=prompt, messages=messages)
    turns = record.messages
    if not turns:
        values = _private_attributes(row, attributes, record.text, record.prompt)
        yield template._replace(scored=record.text, prompt=record.prompt, attributes=values)
        return
    scored = list(chat_messages.assistant_turns(turns, record.first_turn))
    prompts = {i: chat_messages.plain_text_chat(turns[:i]) for i, _ in scored}
    values = _private_attributes(row, attributes, "\n".join(words for _, words in scored), "\n".join(prompts.values()))
    written = {field for field, value in values.items() for _, words in scored if value in words}
    for i, words in scored:
        # A later prompt repeats the earlier turns, so a value that is only in prompts belongs to the first one with it.
        read = {field for field, value in values.items() if field not in written and value in prompts[i]}
        written |= read
        yield template._replace(
            id=f"{template.id}#{i}",
            scored=words,
            prompt=prompts[i],
            group=template.group or template.id,
            attributes={field: value for field, value in values.items() if value in words or field in read},
            chat=chat_messages.encode_chat(turns[: i + 1]),
        )


def _record_fields(row: SourceRow, settings: Mapping[str, str | None]) -> dict[str, str]:
    """Return the arguments of `parse_record` for all rows: `text`, or `text` and `prompt`, or `messages`, or none."""
    text, prompt, completion, messages = (settings[n] for n in ("text", "prompt", "completion", "messages"))
    if text is not None and (prompt or completion) is not None:
        raise DataError(
            f"text: {text} cannot be combined with prompt or completion. Remove text, or remove prompt and completion."
        )
    if messages is not None and (text or prompt or completion) is not None:
        raise DataError(
            f"messages: {messages} cannot be combined with text, prompt or completion. Write messages alone."
        )
    if text is not None:
        return {"text": text}
    if messages is not None:
        return {"messages": messages}
    if (prompt is None) != (completion is None):
        raise DataError("prompt and completion: only one of them is set. Write both, or text alone.")
    if prompt is not None and prompt == completion:
        return {"messages": prompt}  # one field with a chat
    if prompt is not None:
        return {"prompt": prompt, "text": str(completion)}
    return _default_fields(row)


def _default_fields(row: SourceRow) -> dict[str, str]:
    """Return the fields that are read without settings; {} for the first shape that fits."""
    if "text" in row.fields:
        return {"text": "text"}
    if {"prompt", "completion"} <= row.fields.keys():
        return {"prompt": "prompt", "text": "completion"}
    if "messages" in row.fields:
        return {"messages": "messages"}
    if any(set(shape.required) <= row.fields.keys() for shape in SHAPES):
        return {}
    raise DataError(
        f"{row.location}: unknown record shape; the record has the fields {', '.join(row.fields)}. "
        f"Write {RECORD_SHAPES}, or text: FIELD, or prompt: FIELD and completion: FIELD, or messages: FIELD."
    )


def _identifier(row: SourceRow, field: str) -> str:
    """Return an identifier (id or group) as a string; it can be a whole number."""
    return identifier(row.location, field, row.fields.get(field)) or nonempty_string_field(row, field)


def _role(row: SourceRow, field: str) -> Role:
    value = nonempty_string_field(row, field)
    if value not in SPLIT_ROLES:
        raise DataError(f"{row.location}: {field!r} is {value!r}. Choices: {', '.join(SPLIT_ROLES)}.")
    return SPLIT_ROLES[value]


def _private_attributes(row: SourceRow, fields: tuple[str, ...], text: str, prompt: str) -> dict[str, str]:
    """Return the row's private values. A value may be missing; else it must occur in the text or in its prompt."""
    values = {field: string_field(row, field) for field in fields if row.fields.get(field)}
    for field, value in values.items():
        if value not in text and value not in prompt:
            place = "text or its prompt" if prompt else "text"
            raise DataError(
                f"{row.location}: {field!r} is {value!r}, which does not occur in the {place}. Leave it out of attributes."
            )
    return values
