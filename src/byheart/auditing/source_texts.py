"""Read the records of a file, a folder or a Hub split as audited texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from byheart.auditing.scored_records import BASE_PREFIX, scored_text
from byheart.auditing.texts import AuditedText, ScoredResponse, record_texts
from byheart.core.errors import DataError
from byheart.data.formats import SourceRow
from byheart.data.row_selection import split_selection
from byheart.data.sources import read_source

FIELD_OPTIONS = {"id": "--id", "group": "--group"}
"""Options that name a field; --fields names all others."""


def read_source_texts(
    part: str,
    path: str,
    field_names: Mapping[str, str],
    private_fields: Sequence[str] = (),
    response: ScoredResponse = "chosen",
) -> tuple[AuditedText, ...]:
    """Return a source's texts, named by their `id`, or else by their line or row.

    Raises `DataError` in one line for a source that cannot be read, a record without the named fields, and an id that occurs twice.
    """
    texts: list[AuditedText] = []
    present_fields: set[str] = set()
    source, _ = split_selection(path)
    for row in read_source(path):
        record = _standard_record(row, field_names)
        if private_fields:
            present_fields |= row.fields.keys()
            record["attributes"] = {name: row.fields.get(name) for name in private_fields}
        name = row.location.removeprefix(source).lstrip(" /")
        try:
            texts += record_texts(part, name, record, response=response)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    # A single record may lack a value, but a name that no record has is a typo, and its values would stay unmasked.
    for name in private_fields:
        if part == "member" and name not in present_fields:
            raise DataError(
                f"{path}: no record has the field {name!r}. Choose one of these fields: "
                f"{', '.join(sorted(present_fields)) or 'none'}."
            )
    _check_ids(path, texts)
    return tuple(texts)


def read_scored_texts(
    part: str, path: str, field_names: Mapping[str, str], scores: Sequence[str], *, higher_means_member: bool
) -> tuple[AuditedText, ...]:
    """Return a source's records with the scores in these fields; records may have no text.

    Raises `DataError` as `read_source_texts` does, and for a record without one of the scores.
    """
    texts: list[AuditedText] = []
    source, _ = split_selection(path)
    for row in read_source(path):
        name = row.location.removeprefix(source).lstrip(" /")
        numbers = {n: v for n, v in row.fields.items() if n in scores or n.removeprefix(BASE_PREFIX) in scores}
        record = {**_standard_record(row, field_names), **numbers}
        try:
            texts.append(scored_text(part, name, record, scores, higher_means_member=higher_means_member))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    _check_ids(path, texts)
    return tuple(texts)


def _check_ids(path: str, texts: Sequence[AuditedText]) -> None:
    names = [text.name for text in texts]
    if len(set(names)) < len(names):
        duplicate = next(n for n, count in Counter(names).items() if count > 1)
        raise DataError(
            f"{path}: the id {duplicate!r} occurs twice. Give each record its own id, or name another field with --id."
        )


def read_released_texts(part: str, path: str, field_names: Mapping[str, str]) -> tuple[AuditedText, ...]:
    """Return a source's texts without a check of their ids, which may name the prompts of several texts.

    `field_names` are the fields of the audited records. They are used only if every row has them, because generated texts often have
    other fields. Raises `DataError` in one line for a source that cannot be read.
    """
    rows = read_source(path)
    names = {field: name for field, name in field_names.items() if field not in {"id", "group"}}
    if not all(name in row.fields for name in names.values() for row in rows):
        names = {}
    texts: list[AuditedText] = []
    source, _ = split_selection(path)
    for row in rows:
        location = row.location.removeprefix(source).lstrip(" /")
        try:
            texts += record_texts(part, location, _standard_record(row, names))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    return tuple(texts)


def _standard_record(row: SourceRow, field_names: Mapping[str, str]) -> dict[str, Any]:
    """Return a row's fields under their standard names; named fields of a record shape exclude all other shapes."""
    for standard, name in field_names.items():
        if name not in row.fields:
            option = f"{FIELD_OPTIONS[standard]} {name}" if standard in FIELD_OPTIONS else f"--fields {standard}={name}"
            raise DataError(
                f"{option}: {row.location} has no field {name!r}. Choose one of its fields: {', '.join(row.fields) or 'none'}."
            )
    named = {standard: row.fields[name] for standard, name in field_names.items()}
    others = {"id", "group", "attributes", "tools"}
    if named.keys() & {"messages", "conversations"}:
        others |= {"system", "functions"}
    is_shape_named = bool(named.keys() - others)
    return {n: v for n, v in row.fields.items() if not is_shape_named or n in others} | named
