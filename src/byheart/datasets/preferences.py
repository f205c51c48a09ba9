"""Your own preference pairs, from a file or from a folder of files: a prompt, a chosen and a rejected response.

Source and license: yours. A record is one pair, in the format of data for DPO and ORPO (TRL): strings in the fields `prompt`,
`chosen` and `rejected`, or lists of messages, also with the common first messages as the prompt. Each response is one string or
one message of the assistant. A folder contains files named train, test and validation, which define the published split.

A pair is one record: it is trained on or held out as a whole. `training: {objective: dpo}` trains on both responses. Attacks on
texts and all other training read the chosen response. Attacks on pairs, such as `reward_margin`, read both.
"""

from __future__ import annotations

from collections.abc import Iterator

from byheart.core import chat_messages
from byheart.core.paths import expanded
from byheart.core.split import Examples, Role
from byheart.data.formats import SourceRow, read_rows
from byheart.data.preference_records import parse_pair
from byheart.data.readers import SPLIT_ROLES, Example, examples, nonempty_string_field, published_splits
from byheart.data.record_fields import identifier


def preferences(
    *,
    path: str,
    prompt: str | None = None,
    chosen: str | None = None,
    rejected: str | None = None,
    group: str | None = None,
    id: str | None = None,  # noqa: A002 - the setting has the field's name
) -> Examples:
    """Return the preference pairs of a file, or of a folder with files named train, test and validation.

    The settings name fields; the defaults are the fields of these names. Pairs of one `group` (a user, an annotator) are never split;
    `group: prompt` keeps the pairs of a prompt together. Raises `DataError`, with the file and the line, for a file that cannot be
    read and for a record that is no preference pair.
    """
    location = expanded(path)
    rows_by_name = (
        {name: list(rows) for name, rows in published_splits(path).items()}
        if location.is_dir()
        else {location.stem: read_rows(location)}
    )
    names = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    renamed = {standard: name for standard, name in names.items() if name is not None}

    def pairs() -> Iterator[Example]:
        for name, rows in rows_by_name.items():
            role: Role = SPLIT_ROLES[name] if location.is_dir() else "pool"
            group_field = group or ("group" if "group" in rows[0].fields else None)
            for number, row in enumerate(rows):
                yield _pair(row, renamed)._replace(
                    id=f"{name}/{number}" if id is None else _identifier(row, id),
                    role=role,
                    group=None if group_field is None else _identifier(row, group_field),
                )

    return examples(pairs())


def _pair(row: SourceRow, renamed: dict[str, str]) -> Example:
    """Return a row's pair without id, role and group; `renamed` are the row's names of the standard fields."""
    fields = {n: v for n, v in row.fields.items() if n not in renamed}
    fields |= {standard: row.fields[name] for standard, name in renamed.items() if name in row.fields}
    record = parse_pair(row.location, fields)
    if not record.messages:
        return Example("", record.text, record.prompt, rejected=record.rejected)
    return Example(
        "",
        chat_messages.assistant_text(record.messages[-1]),
        chat_messages.plain_text_chat(record.messages[:-1]),
        chat=chat_messages.encode_chat(record.messages),
        rejected=record.rejected,
    )


def _identifier(row: SourceRow, field: str) -> str:
    """Return an identifier (id or group) as a string; it can be a whole number."""
    return identifier(row.location, field, row.fields.get(field)) or nonempty_string_field(row, field)
