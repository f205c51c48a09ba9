"""Generated and reference texts of an audit without a model, and what makes them unusable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from byheart.auditing.texts import AuditedText
from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.types import digest
from byheart.data.near_duplicates import SHINGLE_WORDS, NearDuplicateSearch
from byheart.data.text_units import text_units

NEAR_DUPLICATE = 0.8
"""Smallest similarity of near copies, the default of a study's `near_duplicate`."""
AUDITED = ("member", "nonmember")
PART_NAMES: Mapping[str, str] = {
    "generated": "generated texts",
    "reference": "reference texts",
    "member": "the member texts",
    "nonmember": "the nonmember texts",
}
"""Names of parts in errors; the command line names options and files instead."""
FIXES = {"generated": "the texts that the model generated", "reference": "texts of the same kind without them"}


class ReleasedTexts(NamedTuple):
    """Texts that a model generated, and reference texts (none: ()), with their sources and the names of all parts in errors."""

    generated: tuple[str, ...]
    reference: tuple[str, ...] = ()
    sources: Mapping[str, str] = {}
    names: Mapping[str, str] = PART_NAMES

    def label(self, part: str) -> str:
        """Return the name of generated or reference texts in the result: "out.jsonl (300 generated texts)"."""
        count = len(self.generated if part == "generated" else self.reference)
        source = self.sources.get(part)
        return f"{source} ({count:,} {part} texts)" if source else f"{count:,} {part} texts"

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of the texts by part."""
        parts = {"generated": self.generated, "reference": self.reference}
        return {part: digest([text] for text in texts) for part, texts in parts.items() if texts}


def scored_strings(texts: Sequence[AuditedText]) -> tuple[str, ...]:
    """Return what a model generated of each text: whole texts, completions, and the assistant turns of chats."""
    return tuple(text.scored for audited in texts for text in plain_turns(audited))


def plain_turns(text: AuditedText) -> list[AuditedText]:
    """Return a text; of a chat, each assistant turn after the earlier turns in plain text, as one group.

    Without a model there is no chat template.
    """
    if not text.chat:
        return [text]
    group = text.group or f"chat/{digest([[text.content]])}"
    return [
        dataclasses.replace(
            text,
            name=f"{text.name}#{i}",
            prompt=chat_messages.plain_text_chat(text.chat[:i]),
            scored=reply,
            chat=(),
            first_turn=0,
            group=group,
        )
        for i, reply in chat_messages.assistant_turns(text.chat, text.first_turn)
    ]


def check_released(released: ReleasedTexts, texts: Mapping[str, Sequence[AuditedText]]) -> None:
    """Raise `DataError` for generated texts that are the records or the reference, and for records with near copies in the reference."""
    by_part = {part: scored_strings(items) for part, items in texts.items()}
    parts = {"generated": released.generated, "reference": released.reference}
    others = {**{part: by_part[part] for part in AUDITED if part in by_part}, "reference": released.reference}
    for part, own in parts.items():
        for other, strings in others.items():
            if own and other != part and set(own) == set(strings):
                fix = FIXES[part]
                name, other_name = (released.names.get(p, PART_NAMES[p]) for p in (part, other))
                raise DataError(f"{name}: the same texts as {other_name}. Name {fix}.")
    if released.reference:
        _check_no_near_copies(released, {part: by_part[part] for part in AUDITED if part in by_part})


def _check_no_near_copies(released: ReleasedTexts, by_part: Mapping[str, Sequence[str]]) -> None:
    """Raise `DataError` for audited records with near copies in the reference; records of fewer than five words are not checked.

    Such a record would be subtracted from itself, which separates the classes if one of them has more.
    """
    records = [(part, s) for part, strings in by_part.items() for s in strings if len(text_units(s)) >= SHINGLE_WORDS]
    count = len(released.reference)
    search = NearDuplicateSearch([*released.reference, *(s for _, s in records)], NEAR_DUPLICATE)
    rows, columns = np.arange(count, count + len(records)), np.arange(count)
    copied = {first for first, _ in search.pairs(rows, columns, np.arange(count + len(records)))}
    if not copied:
        return
    counts = [
        f"{sum(1 for i in copied if records[i - count][0] == part)} of {len(strings)} {part} texts"
        for part, strings in by_part.items()
    ]
    raise DataError(
        f"{released.names['reference']}: near copies of {' and '.join(counts)}. Remove them from the reference texts."
    )
