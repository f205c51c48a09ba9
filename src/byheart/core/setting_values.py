"""Read and write the entries of a study file or an audit: a name with settings, each checked against its declared type."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, cast

from byheart.core.errors import SettingError, StudyError


def validate_setting(where: str, declared: Any, value: Any) -> Any:
    """Return the value as its declared type; raise `SettingError` with the setting, the value and the fix."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return _adapter(declared, TypeAdapter).validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        first_error = error.errors()[0]
        raise SettingError(f"{where} = {value!r}: {first_error['msg'][0].lower() + first_error['msg'][1:]}") from error
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"{where} = {value!r}: not a valid setting. Write a finite number, a string, true, false, null or a list."
        ) from error


@functools.cache
def _adapter(declared: Any, adapter: Any) -> Any:
    return adapter(declared)


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
    raise StudyError(
        f"{shelf}: {format_setting(written)[:80]} is not an entry. Write a name, or name: {{setting: value}}."
    )


def format_setting(value: Any) -> str:
    """Return a setting as a study file writes it."""
    return value if isinstance(value, str) else json.dumps(value)
