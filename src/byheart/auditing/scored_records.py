"""Records with the scores that another tool computed, as audited texts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from byheart.auditing.texts import AuditedText, parse_text
from byheart.core import chat_messages
from byheart.core.errors import DataError, UnknownNameError, quoted_name
from byheart.core.setting_values import shown_setting
from byheart.data.records import matching_shapes

BASE_PREFIX = "base/"
"""Prefix of the fields with the base model's scores, as in the file scores.parquet of an audit."""
LARGEST_SCORE = 1e100
"""Largest absolute score: differences and means of larger ones overflow."""


def scored_text(
    part: str, name: str, record: Mapping[str, Any], names: Sequence[str], *, higher_means_member: bool
) -> AuditedText:
    """Return a record with its scores; a record without a text has its id, or else its scores, in place of it.

    A chat is one text: its scores are of all of it. Raises `DataError` for a missing score, and for one that is no number of usual size.
    """
    location = f"{part} text {quoted_name(name)}"
    fields = [*names, *(base for n in names if (base := BASE_PREFIX + n) in record)]
    sign = 1 if higher_means_member else -1
    scores = {field: sign * _score(location, field, record) for field in fields}
    if not matching_shapes(record):
        standing = record.get("id") or [name, scores]  # audits of other scores are then audits of other records
        record = {**record, "text": f"{part} {standing}"}
        return dataclasses.replace(parse_text(part, name, record), scores=scores, has_text=False)
    text = parse_text(part, name, record)
    if text.chat:
        plain = chat_messages.plain_text_chat(text.chat)
        text = dataclasses.replace(text, prompt="", scored=plain, chat=(), first_turn=0)
    return dataclasses.replace(text, scores=scores)


def _score(location: str, field: str, record: Mapping[str, Any]) -> float:
    if field not in record:
        raise DataError(str(UnknownNameError(f"{location}: the field", field, map(str, record))))
    value = record[field]
    try:
        number = math.nan if isinstance(value, bool | np.bool_ | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= LARGEST_SCORE:
        # A string may be a record's text, which no error shows.
        found = f"a string of {len(value)} characters" if isinstance(value, str) else shown_setting(value)
        raise DataError(
            f"{location}: the score {quoted_name(field)} is {found}. Write a number between -{LARGEST_SCORE:g} and {LARGEST_SCORE:g}."
        )
    return number
