"""Render audited texts as `Texts`: a sample of whole groups, with one text for each assistant turn of a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from byheart.auditing.texts import AuditedText
from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.types import Texts
from byheart.lm.special_tokens import chat_end_id, chat_prompt, end_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
    rendered: list[tuple[str, str, str, str, str]] = []
    for text in sample(texts, maximum):
        turns = [(f"{part}/{text.name}", text.prompt, text.scored)] if not text.chat else _turns(part, text, tokenizer)
        # A named group may span parts. A copy in an exclusive part raised an error before.
        group = f"group/{text.group}" if text.group else text.content
        rendered += [(*turn, text.rejected, group) for turn in turns]
    names, prompts, scored, rejected, contents = zip(*rendered, strict=True)
    groups = {c: c if c.startswith("group/") else f"{part}/{i}" for i, c in enumerate(dict.fromkeys(contents))}
    return Texts(names, scored, prompts, rejected=rejected), tuple(groups[c] for c in contents)


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


def private_values(part: str, texts: Sequence[AuditedText]) -> dict[str, Mapping[str, str]]:
    """Return the private values of texts by the ids of `render_texts`; every turn of a chat has the chat's values."""
    values_by_id: dict[str, Mapping[str, str]] = {}
    for text in (t for t in texts if t.attributes):
        turns = [f"#{i}" for i, _ in chat_messages.assistant_turns(text.chat, text.first_turn)] if text.chat else [""]
        values_by_id |= {f"{part}/{text.name}{turn}": text.attributes for turn in turns}
    return values_by_id


def check_chats_end_with_eos(tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, Sequence[AuditedText]]) -> None:
    """Raise `DataError` if the chat template ends a turn with another token than EOS, which `end_token` scores."""
    for part, part_texts in texts.items():
        for text in (t for t in part_texts if t.chat):
            last, _ = chat_messages.last_assistant_turn(text.chat, text.first_turn)
            location = f"{part} text {text.name!r}"
            if chat_end_id(tokenizer, text.chat[: last + 1], location=location) != end_id(tokenizer):
                raise DataError(
                    f"{location}: the chat template ends a turn with another token than the tokenizer's EOS. "
                    "Set end_token to false, or set the tokenizer's EOS to the template's end of a turn."
                )
            return
