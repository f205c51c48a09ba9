"""Read and write the entries of a study file or an audit: a name with settings, each checked against its declared type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, cast

from byheart.core.errors import SettingError, StudyError
from byheart.core.json_shapes import error_text, validated_json


def validate_setting(where: str, declared: Any, value: Any) -> Any:
    """Return the value as its declared type; raise `SettingError` with the setting, the value and the fix."""
    from pydantic import ValidationError

    try:
        return validated_json(declared, json.dumps(value, allow_nan=False))
    except ValidationError as error:
        first_error = error.errors()[0]
        raise SettingError(
            f"{where} = {shown_setting(value)}: {error_text(first_error)}. {_fix(first_error)}"
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingError(
            f"{where} = {shown_setting(value)}: not a valid setting. Write a finite number, a string, true, false, null or a list."
        ) from error


_FIXES = {
    "int_type": "Write a whole number.",
    "int_from_float": "Write a whole number.",
    "int_parsing_size": "Write a smaller whole number.",
    "float_type": "Write a number.",
    "finite_number": "Write a finite number.",
    "bool_type": "Write true or false.",
    "string_type": "Write a string; in YAML, put it in quotes.",
    "list_type": "Write a list, such as [a, b].",
    "tuple_type": "Write a list, such as [a, b].",
    "dict_type": "Write a mapping, such as {a: 1}.",
    "none_required": "Remove it, or write null.",
    "too_short": "Add items to the list.",
    "too_long": "Remove items from the list.",
    "literal_error": "Write {expected}.",
    "greater_than": "Write a number above {gt}.",
    "greater_than_equal": "Write {ge} or more.",
    "less_than": "Write a number below {lt}.",
    "less_than_equal": "Write {le} or less.",
}
"""What to write instead, by pydantic's name of the error."""


def _fix(error: Mapping[str, Any]) -> str:
    return _FIXES.get(error["type"], "Write a valid value.").format(**error.get("ctx", {}))


def shown_setting(value: Any) -> str:
    """Return a value for an error message, at most 100 characters."""
    try:
        shown = repr(value)
    except RecursionError:
        shown = "(deeply nested)"
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."


MAX_SHOWN = 100
MAX_VALUES = 100_000
"""Maximum number of values in a study file; with YAML's references, a file of a few lines can stand for billions."""
MAX_DEPTH = 50


def check_plain(where: str, content: Any) -> None:
    """Raise `SettingError` for content that JSON cannot write: dates, sets, keys that are no strings, references to itself.

    Also for more than `MAX_VALUES` values, and for values that are nested more than `MAX_DEPTH` times.
    """
    waiting: list[tuple[str, Any, int]] = [(where, content, 0)]
    count = 0
    while waiting:
        place, value, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            limit = f"nested more than {MAX_DEPTH} times" if depth > MAX_DEPTH else f"more than {MAX_VALUES:,} values"
            raise SettingError(
                f"{place[:MAX_SHOWN]}: {limit}. Remove references (&name, *name) that repeat or contain themselves."
            )
        if isinstance(value, Mapping):
            for key, item in cast("Mapping[Any, Any]", value).items():
                if not isinstance(key, str):
                    raise SettingError(
                        f"{place}: the key {shown_setting(key)} is not a string. Write a name, or put it in quotes."
                    )
                waiting.append((f"{place}.{key}" if place else key, item, depth + 1))
        elif isinstance(value, list | tuple):
            waiting += [(place, item, depth + 1) for item in cast("list[Any]", value)]
        elif isinstance(value, set | frozenset | bytes | date):
            kind = "bytes" if isinstance(value, bytes) else "a date" if isinstance(value, date) else "a set"
            raise SettingError(f"{place} = {shown_setting(value)}: is {kind}. Write a string in quotes, or a list.")


def parse_entry(shelf: str, written: Any) -> tuple[str, dict[str, Any]]:
    """Return name and settings of "name" or {name: settings}, the two forms of an entry in a study file or an audit.

    Raises `StudyError` for anything else.
    """
    if isinstance(written, str):
        return written, {}
    if isinstance(written, Mapping) and len(entry := dict(cast("Mapping[Any, Any]", written))) == 1:
        name, values = next(iter(entry.items()))
        if isinstance(name, str) and isinstance(values, Mapping | None):
            return name, dict(cast("Mapping[str, Any]", values or {}))
    raise StudyError(f"{shelf}: {_shown_entry(written)} is not an entry. Write a name, or name: {{setting: value}}.")


def _shown_entry(written: Any) -> str:
    """Return an entry as a study file writes it, or as Python does if it is an object of Python."""
    try:
        return json.dumps(written)[:MAX_SHOWN]
    except (TypeError, ValueError, RecursionError):
        return shown_setting(written)


def format_setting(value: Any) -> str:
    """Return a setting as a study file writes it."""
    return value if isinstance(value, str) else json.dumps(value)
