"""Planted canaries as the texts of an audit: members and non-members, and the texts whose exposure is measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.auditing.texts import AuditedText, check_overlaps, parse_texts, texts_by_part
from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.split import PlantedCanaries
from byheart.core.types import Texts
from byheart.data.canary_manifest import FAIR_COIN, Canary, PlantedSet, read_planted_set
from byheart.data.canary_records import parsed
from byheart.lm.special_tokens import chat_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedTokenizerBase

    from byheart.data.canary_records import Record


def audited_canaries(planted: PlantedSet) -> dict[str, tuple[AuditedText, ...]]:
    """Return the included canaries as members and the held-out ones as non-members, each a group of its own."""
    return {
        "member": tuple(audited_canary(c, planted) for c in planted.canaries if c.included),
        "nonmember": tuple(audited_canary(c, planted) for c in planted.canaries if not c.included),
    }


def canary_texts_by_part(
    planted: PlantedSet | None,
    nonmembers: object,
    validation: Any,
    known_members: Any,
    known_nonmembers: Any,
) -> dict[str, tuple[AuditedText, ...]]:
    """Return the texts of an audit without members: included canaries as members, held-out ones as non-members.

    Raises `DataError` without canaries, and for non-members, because held-out canaries are the only fair ones.
    """
    if planted is None:
        raise DataError("member texts: the list is missing. Pass members, or canaries.")
    if nonmembers is not None:
        raise DataError(
            "nonmember texts: members are missing. Pass members too, or leave both out to compare included with held-out canaries."
        )
    texts = audited_canaries(planted)
    optional = {"validation": validation, "known_member": known_members, "known_nonmember": known_nonmembers}
    texts |= {part: parse_texts(part, items) for part, items in optional.items() if items is not None}
    check_overlaps(texts)
    return texts


def watched_texts_by_part(
    members: Any, nonmembers: Any, validation: Any, planted: PlantedSet | None
) -> dict[str, tuple[AuditedText, ...]]:
    """Return the texts of a monitored training; without members, the canaries. Raises `DataError` without non-members."""
    if members is None:
        return canary_texts_by_part(planted, nonmembers, validation, None, None)
    if nonmembers is None:
        raise DataError("nonmember texts: the list is missing. Pass texts like the members that are not trained on.")
    return texts_by_part(members, nonmembers, validation)


def as_planted_set(canaries: object) -> PlantedSet:
    """Return canaries, or read them by the path of their manifest.

    Raises `DataError` for anything else, and as `read_planted_set` does.
    """
    if not isinstance(canaries, PlantedSet | Path | str):
        raise DataError(
            f"canaries: {type(canaries).__name__} is not a set of planted canaries. "
            "Pass planted.canaries of byheart.plant, or the path of a manifest."
        )
    return canaries if isinstance(canaries, PlantedSet) else read_planted_set(canaries)


def audited_canary(canary: Canary, planted: PlantedSet) -> AuditedText:
    """Return a canary as an audited text; of a chat, the last assistant message is scored."""
    content = parsed(canary.id, canary.record, planted.field_names)
    if not content.messages:
        return AuditedText(canary.id, content.prompt, content.text, is_canary=True)
    last, _ = chat_messages.last_assistant_turn(content.messages, content.first_turn)
    return AuditedText(canary.id, chat=content.messages, first_turn=last, is_canary=True)


def planted_canaries(
    planted: PlantedSet, tokenizer: PreTrainedTokenizerBase, maximum: int | None = None
) -> PlantedCanaries:
    """Return canaries and references for the metrics of canaries; `maximum` limits the canaries, and the references of each kind.

    The first canaries are chosen, which does not depend on their coins. Raises `DataError` for a chat that the tokenizer's chat
    template rejects.
    """
    canaries = planted.canaries[:maximum]
    seen: dict[str, int] = {}
    references: list[tuple[str, Record]] = []
    for kind, record in planted.references:
        seen[kind] = seen.get(kind, 0) + 1
        if maximum is None or seen[kind] <= maximum:
            references.append((kind, record))
    names = planted.field_names
    return PlantedCanaries(
        texts=_texts(((c.id, c.record) for c in canaries), names, tokenizer),
        included=tuple(c.included for c in canaries),
        repetitions=tuple(c.repetitions for c in canaries),
        kinds=tuple(c.kind for c in canaries),
        coin=FAIR_COIN,
        references=_texts(((f"reference/{i}", record) for i, (_, record) in enumerate(references)), names, tokenizer),
        reference_kinds=tuple(kind for kind, _ in references),
        bits=dict(planted.manifest["bits"]),
    )


def _texts(
    records: Iterable[tuple[str, Record]], field_names: Mapping[str, str], tokenizer: PreTrainedTokenizerBase
) -> Texts:
    ids: list[str] = []
    scored: list[str] = []
    prompts: list[str] = []
    for name, record in records:
        content = parsed(name, record, field_names)
        prompt, text = content.prompt, content.text
        if content.messages:
            last, text = chat_messages.last_assistant_turn(content.messages, content.first_turn)
            prompt = chat_prompt(tokenizer, content.messages[: last + 1], location=name)
        ids.append(name)
        scored.append(text)
        prompts.append(prompt)
    return Texts(tuple(ids), tuple(scored), tuple(prompts))
