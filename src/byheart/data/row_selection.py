"""Select rows of a source by the value of a field: `wikimia.jsonl:label=1` are the rows whose `label` is 1.

A file with members and non-members in one column of labels, as membership benchmarks publish them, is named twice: with the label of
members and with that of non-members.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence
from typing import NamedTuple

from byheart.core.errors import DataError
from byheart.core.paths import expanded
from byheart.data.formats import SourceRow
from byheart.data.record_fields import identifier

_SELECTION = re.compile(r"(?P<source>.+):(?P<field>[^:=/\\]+)=(?P<value>[^:=/\\]+)", re.DOTALL)
_MAX_SHOWN_VALUES = 10


class RowSelection(NamedTuple):
    """A field, and the value of the selected rows, as a string."""

    field: str
    value: str


def split_selection(name: str) -> tuple[str, RowSelection | None]:
    """Return a source's name without its selection, and the selection; None without a selection.

    A file or folder with the complete name has no selection: its own name contains `:` and `=`.
    """
    match = _SELECTION.fullmatch(name)
    # Unlike Path.exists, it does not raise for a name that is too long.
    if match is None or os.path.exists(expanded(name)):  # noqa: PTH110
        return name, None
    return match["source"], RowSelection(match["field"], match["value"])


def select_rows(name: str, rows: Sequence[SourceRow], selection: RowSelection) -> list[SourceRow]:
    """Return the rows whose field has the value, in their order; `name` is the source's in errors.

    1, 1.0 and "1" are equal, and so are `true`, "true" and "True". Raises `DataError` for a row without the field, for a value that is no
    string, number or boolean, and if no row has the value.
    """
    values = [_shown_value(row, selection.field) for row in rows]
    wanted = _lower_boolean(selection.value)
    selected = [row for row, value in zip(rows, values, strict=True) if value == wanted]
    if not selected:
        distinct = list(dict.fromkeys(values))
        shown = ", ".join(value or "null" for value in distinct[:_MAX_SHOWN_VALUES])
        more = ", ..." if len(distinct) > _MAX_SHOWN_VALUES else ""
        raise DataError(
            f"{name}: no record has {selection.field}={selection.value}. Choose one of its values: {shown}{more}."
        )
    return selected


def _shown_value(row: SourceRow, field: str) -> str:
    if field not in row.fields:
        raise DataError(
            f"{row.location}: no field {field!r}, which selects the records. Available fields: "
            f"{', '.join(map(str, row.fields)) or 'none'}."
        )
    value = row.fields[field]
    return _lower_boolean(str(value) if isinstance(value, bool) else identifier(row.location, field, value))


def _lower_boolean(value: str) -> str:
    return value.lower() if value.lower() in {"true", "false"} else value
