"""Parse strings, pairs, records and chats into audited texts.

Every check that needs no tokenizer runs when the texts are parsed, before any training. Of a chat, only the assistant's
turns are scored: one text per turn, with all earlier messages as its prompt, in the tokenizer's chat template. The turns
of one chat are one group, and so are duplicates of one text.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from byheart.core import chat_messages
from byheart.core.errors import DataError, quoted_name
from byheart.core.types import Texts
from byheart.data.preference_records import parse_pair
from byheart.data.record_fields import identifier
from byheart.data.records import RECORD_SHAPES, parse_record

Response = Literal["chosen", "rejected", "pair"]
ScoredResponse = Response | Literal["both"]
"""What is scored of a preference pair: one side, both as one group, or the chosen one as a pair with the rejected one."""

PAIR = 2
TEXT_FORMATS = f"a string, a (prompt, completion) pair, a list of messages, or a record with {RECORD_SHAPES}"

PART_NAMES = {
    "member": "members",
    "nonmember": "nonmembers",
    "validation": "validation",
    "known_member": "known_members",
    "known_nonmember": "known_nonmembers",
}
"""Argument of `byheart.audit` with the texts of each part."""
EXCLUSIVE_PARTS = (
    *((part, "member") for part in ("nonmember", "validation", "known_member", "known_nonmember")),
    *((part, "nonmember") for part in ("known_member", "known_nonmember")),
    *(("known_member", other) for other in ("known_nonmember", "validation")),
)
"""Pairs of parts that must not share a text: training or not, known to the adversary or audited."""


@dataclass(frozen=True)
class AuditedText:
    """A named text: prompt and scored string, or a chat with assistant turns scored from `first_turn` on.

    `group` is a user, a document, ...; "" means that only copies of the text are its group. `attributes` are private
    values in the text, by name. They are used only to mask displayed texts. `is_canary`: a fair coin made it a member or not.
    `rejected` is the rejected response of a preference pair whose chosen response is scored. `scores` are another tool's, by field;
    without `has_text`, the record has only these, and the scored string stands for it.
    """

    name: str
    prompt: str = ""
    scored: str = ""
    chat: tuple[Mapping[str, Any], ...] = ()
    first_turn: int = 0
    group: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    is_canary: bool = False
    rejected: str = ""
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    has_text: bool = True

    @property
    def content(self) -> str:
        """The text without its name: equal for copies."""
        columns = [self.prompt, self.scored, self.chat, self.first_turn, *([self.rejected] if self.rejected else [])]
        return json.dumps(columns, sort_keys=True, default=str)


def parse_texts(
    part: str, items: Texts | Iterable[Any], *, response: ScoredResponse = "chosen"
) -> tuple[AuditedText, ...]:
    """Return the texts of a part; `part` names it in errors. `response` is what is read of a preference pair.

    Raises `DataError` for an empty list, an empty text, and an unknown text format.
    """
    if isinstance(items, str):
        raise DataError(f"{part} texts: a single string is not a list. Pass a list of texts, each {TEXT_FORMATS}.")
    if isinstance(items, Texts):
        texts = tuple(
            _from_texts_item(*text)
            for text in zip(items.ids, items.prompts, items.scored, items.chats, items.rejected, strict=True)
        )
    else:
        records = enumerate(records_of(part, items))
        texts = tuple(text for i, item in records for text in record_texts(part, str(i), item, response=response))
    if not texts:
        raise DataError(f"{part} texts: the list is empty. Pass a list of texts, each {TEXT_FORMATS}.")
    return with_unique_names(texts)


def with_unique_names(texts: tuple[AuditedText, ...]) -> tuple[AuditedText, ...]:
    """Return the texts, named by their positions if several share an id (a user's, for example)."""
    if len({t.name for t in texts}) == len(texts):
        return texts
    return tuple(dataclasses.replace(t, name=str(i)) for i, t in enumerate(texts))


def records_of(part: str, items: Any) -> Iterable[Any]:
    """Return the records of a list, a data set, a DataFrame, an Arrow table, or a dict of columns.

    Raises `DataError` for a dict of data sets, for columns of different lengths, and for an object that cannot be iterated.
    """
    for rows in ("to_pylist", "to_dicts"):  # of an Arrow table, and of a frame of Polars
        if hasattr(items, rows):
            return getattr(items, rows)()
    if hasattr(items, "to_dict") and hasattr(items, "columns"):
        return items.to_dict("records")
    if isinstance(items, Mapping):
        columns = cast("Mapping[str, Any]", items)
        if any(hasattr(c, "column_names") for c in columns.values()):
            raise DataError(f"{part} texts: is a dict of data sets. Pass one of them: {', '.join(map(repr, columns))}.")
        if not columns or any(isinstance(c, str) or not hasattr(c, "__len__") for c in columns.values()):
            raise DataError(f"{part} texts: is a dict, not a list of texts. Put a single record in a list: [record].")
        if len({len(c) for c in columns.values()}) > 1:
            lengths = ", ".join(f"{name} {len(c)}" for name, c in columns.items())
            raise DataError(f"{part} texts: the columns differ in length ({lengths}). Pass columns of one length.")
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if not isinstance(items, Iterable):
        raise DataError(f"{part} texts: is {type(items).__name__}. Pass a list of texts, each {TEXT_FORMATS}.")
    return items


def check_disjoint(source: str, texts: Sequence[AuditedText], other_source: str, others: Sequence[AuditedText]) -> None:
    """Raise `DataError` if a text occurs in both parts; the parts' sources name them in the message."""
    other_names = {t.content: t.name for t in others}
    shared = [text for text in texts if text.content in other_names]
    if shared:
        first, more = shared[0], len(shared) - 1
        and_more = (
            f", and {more} more {'record has its' if more == 1 else 'records have their'} text there" if more else ""
        )
        raise DataError(
            f"{source}: record {first.name!r} has the same text as record {other_names[first.content]!r} in {other_source}{and_more}. "
            f"Remove {'each of them' if more else 'it'} from one of the two."
        )


def texts_by_part(
    members: Texts | Iterable[Any],
    nonmembers: Texts | Iterable[Any] | None,
    validation: Texts | Iterable[Any] | None,
    known_members: Texts | Iterable[Any] | None = None,
    known_nonmembers: Texts | Iterable[Any] | None = None,
    *,
    response: ScoredResponse = "chosen",
) -> dict[str, tuple[AuditedText, ...]]:
    """Return the texts by part: "member", "nonmember", "validation", ...; None leaves a part out.

    Raises `DataError` as `parse_texts` and `check_overlaps` do.
    """
    optional = {
        "nonmember": nonmembers,
        "validation": validation,
        "known_member": known_members,
        "known_nonmember": known_nonmembers,
    }
    parts = {"member": members, **{part: items for part, items in optional.items() if items is not None}}
    texts = {part: parse_texts(part, items, response=response) for part, items in parts.items()}
    check_overlaps(texts)
    return texts


def check_overlaps(texts: Mapping[str, Sequence[AuditedText]], sources: Mapping[str, str] | None = None) -> None:
    """Raise `DataError` for a text that occurs in two exclusive parts; `sources` are the parts' files, for the message."""
    names = {**PART_NAMES, **(sources or {})}
    for part, other in EXCLUSIVE_PARTS:
        if part in texts and other in texts:
            check_disjoint(names[part], texts[part], names[other], texts[other])


def record_texts(part: str, name: str, item: Any, *, response: ScoredResponse = "chosen") -> list[AuditedText]:
    """Return the record's text; with "both", the texts of both sides of a preference pair, as one group."""
    if response != "both":
        return [parse_text(part, name, item, response=response)]
    texts = [(side, parse_text(part, name, item, response=side)) for side in ("chosen", "rejected")]
    if texts[0][1].content == texts[1][1].content:
        return [texts[0][1]]
    return [dataclasses.replace(t, name=f"{t.name}/{side}", group=t.group or f"pair/{t.name}") for side, t in texts]


def parse_text(part: str, name: str, item: Any, *, response: Response = "chosen") -> AuditedText:
    """Return one text, named by its own `id` if it has one. `response` is what is read of a preference pair.

    Raises `DataError` as `parse_texts` does.
    """
    if isinstance(item, Mapping):
        record = cast("Mapping[str, Any]", item)
    elif isinstance(item, str):
        record = {"text": item}
    elif isinstance(item, tuple | list) and len(pair := cast("Sequence[Any]", item)) == PAIR and _are(str, pair):
        record = {"prompt": pair[0], "completion": pair[1]}
    elif isinstance(item, tuple | list) and item and _are(Mapping, cast("Sequence[Any]", item)):
        record = {"messages": item}
    else:
        raise DataError(f"{part} text {name!r}: the type is {type(item).__name__}. Write {TEXT_FORMATS}.")
    name = identifier(f"{part} text {quoted_name(name)}", "id", record.get("id")) or name
    location = f"{part} text {quoted_name(name)}"
    parsed = parse_pair(location, record) if response == "pair" else parse_record(location, record, response=response)
    return AuditedText(
        name,
        parsed.prompt,
        parsed.text,
        parsed.messages,
        parsed.first_turn,
        group=identifier(location, "group", record.get("group")),
        attributes=_private_attributes(record),
        rejected=parsed.rejected,
    )


def _are(kind: type, values: Sequence[Any]) -> bool:
    return all(isinstance(value, kind) for value in values)


def _from_texts_item(name: str, prompt: str, scored: str, chat: str, rejected: str) -> AuditedText:
    """Return an item of `Texts`; the last turn of its chat is scored."""
    if not chat:
        return AuditedText(name, prompt, scored, rejected=rejected)
    turns = tuple(chat_messages.decode_chat(chat))
    return AuditedText(name, chat=turns, first_turn=len(turns) - 1, rejected=rejected)


def _private_attributes(item: Mapping[str, Any]) -> dict[str, str]:
    """Return a record's `attributes` with string or integer values; {} if the field is not a mapping."""
    attributes = item.get("attributes")
    values = cast("Mapping[Any, Any]", attributes) if isinstance(attributes, Mapping) else {}
    return {
        str(name): str(value) for name, value in values.items() if isinstance(value, str | int) and str(value).strip()
    }
