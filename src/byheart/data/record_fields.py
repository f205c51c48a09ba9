"""Read the fields of a record: strings, ids and groups, each checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from byheart.core.errors import DataError
from byheart.core.setting_values import shown_setting

_PANDAS_MISSING = ("NAType", "NaTType")
"""Types of pandas' missing values, which neither equal themselves nor are floats."""


def string_value(location: str, fields: Mapping[str, Any], field: str) -> str:
    """Return a field's string, which may be empty.

    Raises `DataError` if the field is missing, not a string, or not Unicode text.
    """
    if field not in fields:
        raise DataError(f"{location}: no field {field!r}. Available fields: {', '.join(map(str, fields)) or 'none'}.")
    value = fields[field]
    if not isinstance(value, str):
        raise DataError(
            f"{location}: {field!r} is {shown_value(value)}, not a string. Write a string or name another field."
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
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        text.encode()
    except UnicodeEncodeError as error:
        # JSON can encode half a surrogate pair, which no tokenizer, hash or compressor accepts.
        raise DataError(
            f"{location} contains half a surrogate pair (U+D800 to U+DFFF), which is not a character. Remove it."
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{location} is not as JSON would have it ({error}). Write strings, numbers and lists."
        ) from error


def identifier(location: str, field: str, value: object) -> str:
    """Return an id or a group as a string; "" for null, NaN and a blank string.

    pandas writes whole numbers as 12.0 if a column has gaps, so they equal 12. Raises `DataError` for another type.
    """
    if value is None or type(value).__name__ in _PANDAS_MISSING:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # of any size; floats end at 1e308
    if isinstance(value, float | Decimal | np.integer | np.floating):
        if math.isnan(value):
            return ""
        if math.isfinite(value) and value == int(value):
            return str(int(value))
    raise DataError(f"{location}: {field!r} is {shown_value(value)}, not a string or a whole number. Write a string.")


def is_missing(value: object) -> bool:
    """Whether a value is null, or NaN, which pandas writes into the gaps of a column."""
    return value is None or type(value).__name__ in _PANDAS_MISSING or (isinstance(value, float) and math.isnan(value))


def shown_value(value: object) -> str:
    """Return a value as error messages show it: null, or the first 40 characters of its JSON."""
    if value is None:
        return "null"
    try:
        return json.dumps(value, default=str)[:40]
    except (TypeError, ValueError, RecursionError):  # an object of Python, such as a dict with tuples as keys
        return shown_setting(value)[:40]


def without_arrays(value: Any) -> Any:
    """Return a value with lists in place of NumPy arrays, also within lists and mappings."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: without_arrays(item) for name, item in value.items()}
    return [without_arrays(item) for item in value] if isinstance(value, list) else value
