"""Parse strings, pairs, records and chats into audited texts, and render them as `Texts`.

Every check that needs no tokenizer runs when the texts are parsed, before any training. Of a chat, only the assistant's
turns are scored: one text per turn, with all earlier messages as its prompt, in the tokenizer's chat template. The turns
of one chat are one group, and so are duplicates of one text.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.types import Texts
from byheart.data.records import RECORD_SHAPES, identifier, parse_record
from byheart.lm.special_tokens import chat_end_id, chat_prompt, end_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT_FORMATS = f"a string, a (prompt, completion) pair, or a record with {RECORD_SHAPES}"

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
    values in the text, by name. They are used only to mask displayed texts.
    """

    name: str
    prompt: str = ""
    scored: str = ""
    chat: tuple[Mapping[str, Any], ...] = ()
    first_turn: int = 0
    group: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def content(self) -> str:
        """The text without its name: equal for copies."""
        return json.dumps([self.prompt, self.scored, self.chat, self.first_turn], sort_keys=True, default=str)


def parse_texts(part: str, items: Texts | Iterable[Any]) -> tuple[AuditedText, ...]:
    """Return the texts of a part; `part` names it in errors.

    Raises `DataError` for an empty list, an empty text, and an unknown text format.
    """
    if isinstance(items, str):
        raise DataError(f"{part} texts: a single string is not a list. Pass a list of texts, each {TEXT_FORMATS}.")
    if isinstance(items, Texts):
        texts = tuple(
            _from_texts_item(*text) for text in zip(items.ids, items.prompts, items.scored, items.chats, strict=True)
        )
    else:
        texts = tuple(parse_text(part, str(i), item) for i, item in enumerate(records_of(part, items)))
    if not texts:
        raise DataError(f"{part} texts: the list is empty. Pass a list of texts, each {TEXT_FORMATS}.")
    if len({t.name for t in texts}) < len(texts):
        # Several texts share an id (a user's, for example), so positions name the texts instead.
        return tuple(dataclasses.replace(t, name=str(i)) for i, t in enumerate(texts))
    return texts


def records_of(part: str, items: Any) -> Iterable[Any]:
    """Return the records of a list, a data set, a DataFrame, or a dict of columns.

    Raises `DataError` for a dict of data sets, for columns of different lengths, and for an object that cannot be iterated.
    """
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


def check_disjoint(part: str, texts: Sequence[AuditedText], other_part: str, others: Sequence[AuditedText]) -> None:
    """Raise `DataError` if a text occurs in both parts."""
    other_names = {t.content: t.name for t in others}
    for text in texts:
        if text.content in other_names:
            raise DataError(
                f"{part} text {text.name!r}: it is also {other_part} text {other_names[text.content]!r}. Remove it from one of the "
                "two parts."
            )


def texts_by_part(
    members: Texts | Iterable[Any],
    nonmembers: Texts | Iterable[Any] | None,
    validation: Texts | Iterable[Any] | None,
    known_members: Texts | Iterable[Any] | None = None,
    known_nonmembers: Texts | Iterable[Any] | None = None,
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
    texts = {"member": parse_texts("member", members)}
    texts |= {part: parse_texts(part, items) for part, items in optional.items() if items is not None}
    check_overlaps(texts)
    return texts


def check_overlaps(texts: Mapping[str, Sequence[AuditedText]]) -> None:
    """Raise `DataError` for a text that occurs in two exclusive parts."""
    for part, other in EXCLUSIVE_PARTS:
        if part in texts and other in texts:
            check_disjoint(part, texts[part], other, texts[other])


def sample(texts: Sequence[AuditedText], maximum: int) -> tuple[AuditedText, ...]:
    """Return a random sample of whole groups with at most `maximum` texts, in their order; the seed is fixed.

    Duplicates are one group. Of the last group, a random subset is used if all of it is too much. Every assistant turn of a
    chat counts. A chat is never divided; the first one always fits. A sample contains every smaller sample.
    """
    if sum(map(_scored_count, texts)) <= maximum:
        return tuple(texts)
    rng = np.random.default_rng(0)
    groups: dict[tuple[bool, str], list[int]] = {}
    for i, text in enumerate(texts):
        groups.setdefault((bool(text.group), text.group or text.content), []).append(i)
    ordered = list(groups.values())
    chosen: list[int] = []
    count = 0
    for group in (ordered[i] for i in rng.permutation(len(ordered))):
        is_divided = count + sum(_scored_count(texts[i]) for i in group) > maximum
        for i in rng.permutation(group).tolist() if is_divided else group:
            count += _scored_count(texts[i])
            if chosen and count > maximum:
                return tuple(texts[i] for i in sorted(chosen))
            chosen.append(i)
    return tuple(texts[i] for i in sorted(chosen))


def _scored_count(text: AuditedText) -> int:
    """Number of scored texts: one, or the number of assistant turns of a chat."""
    return sum(1 for _ in chat_messages.assistant_turns(text.chat, text.first_turn)) if text.chat else 1


def render_texts(
    part: str, texts: Sequence[AuditedText], maximum: int, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[Texts, tuple[str, ...]]:
    """Return at most `maximum` texts (see `sample`) and the group of each.

    Raises `DataError` for a chat without a tokenizer, or if the tokenizer's chat template fails on it.
    """
    rendered: list[tuple[str, str, str, str]] = []
    for text in sample(texts, maximum):
        turns = [(f"{part}/{text.name}", text.prompt, text.scored)] if not text.chat else _turns(part, text, tokenizer)
        # A named group may span parts. A copy in an exclusive part raised an error before.
        rendered += [(*turn, f"group/{text.group}" if text.group else text.content) for turn in turns]
    names, prompts, scored, contents = zip(*rendered, strict=True)
    groups = {c: c if c.startswith("group/") else f"{part}/{i}" for i, c in enumerate(dict.fromkeys(contents))}
    return Texts(names, scored, prompts), tuple(groups[c] for c in contents)


def parse_text(part: str, name: str, item: Any, *, response: Literal["chosen", "rejected"] = "chosen") -> AuditedText:
    """Return one text, named by its own `id` if it has one. `response` is the scored side of a preference pair.

    Raises `DataError` as `parse_texts` does.
    """
    if isinstance(item, Mapping):
        record = cast("Mapping[str, Any]", item)
    elif isinstance(item, str):
        record = {"text": item}
    elif isinstance(item, tuple | list) and [type(x) for x in cast("Sequence[Any]", item)] == [str, str]:
        prompt, completion = cast("Sequence[str]", item)
        record = {"prompt": prompt, "completion": completion}
    else:
        raise DataError(f"{part} text {name!r}: the type is {type(item).__name__}. Write {TEXT_FORMATS}.")
    name = identifier(f"{part} text {name!r}", "id", record.get("id")) or name
    parsed = parse_record(f"{part} text {name!r}", record, response=response)
    return AuditedText(
        name,
        parsed.prompt,
        parsed.text,
        parsed.messages,
        parsed.first_turn,
        group=identifier(f"{part} text {name!r}", "group", record.get("group")),
        attributes=_private_attributes(record),
    )


def _from_texts_item(name: str, prompt: str, scored: str, chat: str) -> AuditedText:
    """Return an item of `Texts`; the last turn of its chat is scored."""
    if not chat:
        return AuditedText(name, prompt, scored)
    turns = tuple(chat_messages.decode_chat(chat))
    return AuditedText(name, chat=turns, first_turn=len(turns) - 1)


def _private_attributes(item: Mapping[str, Any]) -> dict[str, str]:
    """Return a record's `attributes` with string or integer values; {} if the field is not a mapping."""
    attributes = item.get("attributes")
    values = cast("Mapping[Any, Any]", attributes) if isinstance(attributes, Mapping) else {}
    return {
        str(name): str(value) for name, value in values.items() if isinstance(value, str | int) and str(value).strip()
    }


def private_values(part: str, texts: Sequence[AuditedText]) -> dict[str, Mapping[str, str]]:
    """Return the private values of texts by the ids of `render_texts`; every turn of a chat has the chat's values."""
    values_by_id: dict[str, Mapping[str, str]] = {}
    for text in (t for t in texts if t.attributes):
        turns = [f"#{i}" for i, _ in chat_messages.assistant_turns(text.chat, text.first_turn)] if text.chat else [""]
        values_by_id |= {f"{part}/{text.name}{turn}": text.attributes for turn in turns}
    return values_by_id


def _turns(part: str, text: AuditedText, tokenizer: PreTrainedTokenizerBase | None) -> list[tuple[str, str, str]]:
    """Return id, prompt and scored string of every assistant turn."""
    if tokenizer is None:
        raise DataError(
            f"{part} text {text.name!r}: it is a chat, which requires the model's tokenizer for the chat template. Name the "
            "tokenizer with --tokenizer, or write prompt and completion."
        )
    location = f"{part} text {text.name!r}"
    return [
        (f"{part}/{text.name}#{i}", chat_prompt(tokenizer, text.chat[: i + 1], location=location), reply)
        for i, reply in chat_messages.assistant_turns(text.chat, text.first_turn)
    ]


def check_chats_end_with_eos(tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, Sequence[AuditedText]]) -> None:
    """Raise `DataError` if the chat template ends a turn with another token than EOS, which `end_token` scores."""
    for part, part_texts in texts.items():
        for text in (t for t in part_texts if t.chat):
            last, _ = list(chat_messages.assistant_turns(text.chat, text.first_turn))[-1]
            location = f"{part} text {text.name!r}"
            if chat_end_id(tokenizer, text.chat[: last + 1], location=location) != end_id(tokenizer):
                raise DataError(
                    f"{location}: the chat template ends a turn with another token than the tokenizer's EOS. "
                    "Set end_token to false, or set the tokenizer's EOS to the template's end of a turn."
                )
            return
