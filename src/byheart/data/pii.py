"""Detect private values in texts with DataFog (Apache-2.0), which runs locally and uses no network.

Its regular expressions match values with a fixed form, such as e-mail addresses and card numbers. They do not match names or
diagnoses, and can match a long number as a phone number. Private values that a file names itself are more reliable.
"""

from __future__ import annotations

from typing import Literal

from byheart.core.errors import DataError

PiiKind = Literal["email", "phone", "ssn", "credit_card", "ip_address"]
"""The detectable kinds; `ssn` is a social security number of the United States."""


def first_pii_values(text: str, kinds: tuple[PiiKind, ...]) -> dict[str, str]:
    """Return the first value of each kind in a text, by kind.

    Raises `DataError` if there are kinds and DataFog is not installed.
    """
    if not kinds:
        return {}
    try:
        from datafog import scan
    except ImportError as error:
        raise DataError("pii: the package datafog is not installed. Run pip install 'byheart[pii]'.") from error
    values: dict[str, str] = {}
    for entity in sorted(
        scan(text, engine="regex", entity_types=[k.upper() for k in kinds]).entities, key=lambda e: e.start
    ):
        values.setdefault(entity.type.lower(), entity.text)
    return {kind: value for kind, value in values.items() if kind in kinds and value in text}
