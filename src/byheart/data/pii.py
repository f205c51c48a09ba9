"""Private values that nobody named, found in texts by DataFog (Apache-2.0), which runs here and asks no network.

Its patterns know what looks like an e-mail address or a card's number. What needs understanding (a name, a diagnosis) they
do not find, and a long number may be taken for a telephone's: values that a file names itself are the better ones.
"""

from __future__ import annotations

from typing import Literal

from byheart.core.errors import DataError

PiiKind = Literal["email", "phone", "ssn", "credit_card", "ip_address"]
"""The kinds that can be looked for; a social security number is one of the United States."""


def first_pii_values(text: str, kinds: tuple[PiiKind, ...]) -> dict[str, str]:
    """Return the first value of each of the kinds that a text holds.

    Raises `DataError` where there are any kinds to look for and DataFog is not installed.
    """
    if not kinds:
        return {}
    try:
        from datafog import scan
    except ImportError as error:
        raise DataError("pii: the package that finds it is not installed; pip install 'byheart[pii]'") from error
    found: dict[str, str] = {}
    for entity in sorted(
        scan(text, engine="regex", entity_types=[k.upper() for k in kinds]).entities, key=lambda e: e.start
    ):
        found.setdefault(entity.type.lower(), entity.text)
    return {kind: value for kind, value in found.items() if kind in kinds and value in text}
