"""Read both responses of a preference pair, by the parser of `records.py` for each side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.data.records import ParsedRecord, parse_record


def parse_pair(location: str, fields: Mapping[str, Any]) -> ParsedRecord:
    """Return the chosen response of a record with its `rejected` response; each is a string or one message.

    Raises `DataError` for a record that is no preference pair, for equal responses, and for a response of several messages.
    """
    if missing := [name for name in ("chosen", "rejected") if name not in fields]:
        raise DataError(
            f"{location}: is no preference pair, because it has no field {missing[0]!r}. Write `prompt`, `chosen` and `rejected`."
        )
    chosen, rejected = (
        parse_record(location, fields, response="chosen"),
        parse_record(location, fields, response="rejected"),
    )
    text, rejected_text = chosen.text, rejected.text
    if chosen.messages:
        if max(len(r.messages) - r.first_turn for r in (chosen, rejected)) > 1:
            raise DataError(f"{location}: a response has several messages. Write one message of the assistant each.")
        text, rejected_text = (chat_messages.assistant_text(r.messages[-1]) for r in (chosen, rejected))
    if text == rejected_text:
        raise DataError(f"{location}: chosen and rejected are equal. Remove the pair.")
    return replace(chosen, rejected=rejected_text)
