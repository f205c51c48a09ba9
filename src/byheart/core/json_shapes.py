"""Check what a file of JSON contains against a declared type, before code relies on it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any


def as_declared(declared: Any, value: Any) -> Any:
    """Return a value read from JSON as a declared type: a dataclass, a `TypedDict`, a list or mapping of them.

    Nothing is converted, except whole numbers where a float is declared. Raises `ValueError` that names the first place with another
    type, a missing field, or a field that is not declared.
    """
    from pydantic import ValidationError

    try:
        return validated_json(declared, json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise ValueError(f"{place}: {error_text(first)}") from None
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def validated_json(declared: Any, text: str) -> Any:
    """Return the value of a JSON text as a declared type, without conversions; raises pydantic's `ValidationError`."""
    return _adapter(declared).validate_json(text, strict=True)


def error_text(error: Mapping[str, Any]) -> str:
    """Return the text of one of pydantic's errors, to stand after a colon."""
    return error["msg"][0].lower() + error["msg"][1:]


@functools.cache
def _adapter(declared: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(declared)
