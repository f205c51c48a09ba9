"""Texts as somebody holds them in memory: strings, pairs, records, chats; what they are to byheart's `Texts`.

What can be refused without a tokenizer is refused when the texts are handed over, not after a model was trained. Of a
chat only what the assistant says is scored, a text for each of its turns, prompted by all that was said before in the
tokenizer's own template; turns of one chat are one group, as copies of one text are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.types import Texts
from byheart.lm.tokens import chat_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT_FORMATS = (
    "a string, a (prompt, completion) pair, or a record with `text`, `prompt` + `completion`, `messages`, "
    "or `instruction` + `output`"
)
ALPACA = (
    "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n"
)
"""How prompts of `instruction`, `input` and `output` begin: the format that Stanford Alpaca's data set was published with."""
PAIRED = ", paired with an input that provides further context"

EXCLUSIVE_PARTS = (
    *((part, "member") for part in ("nonmember", "validation", "known_member", "known_nonmember")),
    *((part, "nonmember") for part in ("known_member", "known_nonmember")),
    *(("known_member", other) for other in ("known_nonmember", "validation")),
)
"""Parts that no text may play both of: trained on or not, and known to the adversary or asked for."""


@dataclass(frozen=True)
class AuditedText:
    """One text with its name: prompt and scored string, or a chat whose assistant is scored from turn `begin` on.

    `group` is what it belongs to (a user, a document), "" where that was not said: copies then are one group. `attributes`
    are private values that stand in it, by name: they are masked where texts are shown, and nothing else asks for them.
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
        """What tells this text from any other, whatever its name."""
        return json.dumps([self.prompt, self.scored, self.chat, self.first_turn], sort_keys=True, default=str)


def parse_texts(part: str, items: Texts | Iterable[Any]) -> tuple[AuditedText, ...]:
    """Return what somebody gave as `part`, which names it in errors.

    Raises `DataError` for no texts, for an empty one, and for a shape that says not which text is meant.
    """
    if isinstance(items, str):
        raise DataError(f"{part}: is one string; give a list of texts, each {TEXT_FORMATS}")
    if isinstance(items, Texts):
        found = tuple(
            _from_texts_item(*text) for text in zip(items.ids, items.prompts, items.scored, items.chats, strict=True)
        )
    else:
        found = tuple(parse_text(part, str(i), item) for i, item in enumerate(items))
    if not found:
        raise DataError(f"{part}: there are no texts; give a list, each {TEXT_FORMATS}")
    if len({t.name for t in found}) < len(found):
        # An id that several texts share (a user's) names none of them; their numbers do.
        return tuple(dataclasses.replace(t, name=str(i)) for i, t in enumerate(found))
    return found


def check_disjoint(part: str, texts: Sequence[AuditedText], other_part: str, others: Sequence[AuditedText]) -> None:
    """Raise `DataError` where one text plays two parts that exclude each other."""
    known = {t.content: t.name for t in others}
    for text in texts:
        if text.content in known:
            raise DataError(
                f"{part} text {text.name!r} is {other_part} text {known[text.content]!r} too; remove it from one of them"
            )


def texts_by_part(
    members: Texts | Iterable[Any],
    nonmembers: Texts | Iterable[Any] | None,
    validation: Texts | Iterable[Any] | None,
    known_members: Texts | Iterable[Any] | None = None,
    known_nonmembers: Texts | Iterable[Any] | None = None,
) -> dict[str, tuple[AuditedText, ...]]:
    """Return the texts by the part they play: "member", "nonmember", "validation", ..., those that were given.

    Raises `DataError` as `given` and `refuse_overlaps` do.
    """
    named = {"nonmember": nonmembers, "validation": validation}
    named |= {"known_member": known_members, "known_nonmember": known_nonmembers}
    found = {"member": parse_texts("member", members)}
    found |= {part: parse_texts(part, items) for part, items in named.items() if items is not None}
    check_overlaps(found)
    return found


def check_overlaps(texts: Mapping[str, Sequence[AuditedText]]) -> None:
    """Raise `DataError` for a text that plays two parts of which one says that it was trained on, or is not audited."""
    for part, other in EXCLUSIVE_PARTS:
        if part in texts and other in texts:
            check_disjoint(part, texts[part], other, texts[other])


def sample(texts: Sequence[AuditedText], most: int) -> tuple[AuditedText, ...]:
    """Return at most so many of the texts, drawn by chance but always the same ones, in their order."""
    if len(texts) <= most:
        return tuple(texts)
    drawn = np.random.default_rng(0).permutation(len(texts))[:most]
    return tuple(texts[i] for i in np.sort(drawn))


def render_texts(
    part: str, texts: Sequence[AuditedText], most: int, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[Texts, tuple[str, ...]]:
    """Return at most so many texts and the group of each; a chat comes whole or not, the first always.

    Raises `DataError` for a chat that the tokenizer's template cannot write, or where there is no tokenizer.
    """
    lines: list[tuple[str, str, str, str]] = []
    for text in sample(texts, most):
        written = (
            [(f"{part}/{text.name}", text.prompt, text.scored)] if not text.chat else _turns(part, text, tokenizer)
        )
        if lines and len(lines) + len(written) > most:
            break
        # A named group may have texts on both sides; a copy on the other side was refused before.
        lines += [(*line, f"group/{text.group}" if text.group else text.content) for line in written]
    names, prompts, scored, contents = zip(*lines, strict=True)
    numbers = {c: c if c.startswith("group/") else f"{part}/{i}" for i, c in enumerate(dict.fromkeys(contents))}
    return Texts(names, scored, prompts), tuple(numbers[c] for c in contents)


def parse_text(part: str, name: str, item: Any) -> AuditedText:
    """Return one text, which its own `id` names where it has one. Raises `DataError` as `given` does."""
    if isinstance(item, Mapping):
        record = cast("Mapping[str, Any]", item)
        found = _record(part, _text_field(record, "id") or name, record)
        found = dataclasses.replace(found, group=_text_field(record, "group"), attributes=_private(record))
    elif isinstance(item, str):
        found = AuditedText(name, "", item)
    elif isinstance(item, tuple | list) and [type(x) for x in cast("Sequence[Any]", item)] == [str, str]:
        prompt, completion = cast("Sequence[str]", item)
        found = AuditedText(name, prompt, completion)
    else:
        raise DataError(f"{part} text {name!r} is a {type(item).__name__}; write {TEXT_FORMATS}")
    if not found.chat and not found.scored.strip():
        raise DataError(f"{part} text {name!r} is empty; remove it")
    try:
        json.dumps([found.prompt, found.scored, found.chat], ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        # JSON may spell half of a surrogate pair, which no tokenizer, hash or compressor accepts.
        raise DataError(
            f"{part} text {name!r} holds half a surrogate pair, which is no character; remove it"
        ) from error
    return found


def _record(part: str, name: str, item: Mapping[str, Any]) -> AuditedText:
    prompt, completion, messages = item.get("prompt"), item.get("completion"), item.get("messages")
    if isinstance(messages, Sequence) and not isinstance(messages, str):
        return _chat(part, name, cast("Sequence[Any]", messages), 0)
    if isinstance(prompt, str) and isinstance(completion, str):
        return AuditedText(name, prompt, completion)
    if isinstance(prompt, list) and isinstance(completion, list):
        before, after = cast("list[Any]", prompt), cast("list[Any]", completion)
        return _chat(part, name, [*before, *after], len(before))
    if isinstance(text := item.get("text"), str):
        return AuditedText(name, "", text)
    instruction, more, output = item.get("instruction"), item.get("input") or "", item.get("output")
    if isinstance(instruction, str) and isinstance(more, str) and isinstance(output, str):
        more = f"### Input:\n{more}\n\n" if more else ""
        begin = ALPACA.format(PAIRED if more else "")
        return AuditedText(name, f"{begin}### Instruction:\n{instruction}\n\n{more}### Response:", output)
    raise DataError(f"{part} text {name!r} has the fields {', '.join(map(str, item)) or 'none'}; write {TEXT_FORMATS}")


def _from_texts_item(name: str, prompt: str, scored: str, chat: str) -> AuditedText:
    """Return one of `Texts`, whose chat ends with what is scored."""
    if not chat:
        return AuditedText(name, prompt, scored)
    turns = tuple(chat_messages.decode_chat(chat))
    return AuditedText(name, chat=turns, first_turn=len(turns) - 1)


def _text_field(item: Mapping[str, Any], field: str) -> str:
    """Return what a record says that it is or belongs to; "" where it says nothing."""
    value = item.get(field)
    return str(value).strip() if isinstance(value, str | int) else ""


def _private(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the private values that a record names as `attributes`; a field of that name which holds other things is none."""
    told = item.get("attributes")
    values = cast("Mapping[Any, Any]", told) if isinstance(told, Mapping) else {}
    return {
        str(name): str(value) for name, value in values.items() if isinstance(value, str | int) and str(value).strip()
    }


def private_values(part: str, texts: Sequence[AuditedText]) -> dict[str, Mapping[str, str]]:
    """Return the private values of texts by the ids that `spelled` gives them; those of a chat are of each of its turns."""
    found: dict[str, Mapping[str, str]] = {}
    for text in (t for t in texts if t.attributes):
        turns = [f"#{i}" for i, _ in chat_messages.assistant_turns(text.chat, text.first_turn)] if text.chat else [""]
        found |= {f"{part}/{text.name}{turn}": text.attributes for turn in turns}
    return found


def _chat(part: str, name: str, messages: Sequence[Any], begin: int) -> AuditedText:
    chat_messages.check_chat(f"{part} text {name!r}", messages, begin)
    return AuditedText(name, chat=tuple(cast("Sequence[Mapping[str, Any]]", messages)), first_turn=begin)


def _turns(part: str, text: AuditedText, tokenizer: PreTrainedTokenizerBase | None) -> list[tuple[str, str, str]]:
    """Return name, prompt and scored string of every turn of the assistant."""
    if tokenizer is None:
        raise DataError(
            f"{part} text {text.name!r} is a chat, and only the model's tokenizer can write it as the model reads it; name one "
            "that is here with --tokenizer, or write prompt and completion"
        )
    place = f"{part} text {text.name!r}"
    return [
        (f"{part}/{text.name}#{i}", chat_prompt(tokenizer, text.chat[: i + 1], location=place), said)
        for i, said in chat_messages.assistant_turns(text.chat, text.first_turn)
    ]
