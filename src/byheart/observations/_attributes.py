"""Private attributes where they stand in the audited texts: exchanged for others, or asked for by what stands before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byheart.core.errors import DataError
from byheart.core.evidence import Candidates, RecitedAttributes, Variants
from byheart.data.private_attributes import attribute_kinds
from byheart.lm.generate import GenerationRequest, generate_greedy
from byheart.lm.tokens import bos_ids
from byheart.observations import _neighbours, _prefix

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.load import LanguageModel
    from byheart.lm.tokens import Tokens

EXTRA_TOKENS = 8
"""Tokens beyond those of the true value that a model may take to write it: it may spell it otherwise."""


class AttributeOccurrence(NamedTuple):
    """An attribute of an audited text: the text's position, its kind, its value, and whether the text as read holds it."""

    text_index: int
    kind: str
    value: str
    is_in_text: bool


def attribute_occurrences(tokens: Tokens, attributes: Sequence[Mapping[str, str]]) -> Iterator[AttributeOccurrence]:
    """Yield every attribute, text by text and sorted by kind."""
    for i, (text, own) in enumerate(zip(tokens.texts.scored, attributes, strict=True)):
        for kind, value in sorted(own.items()):
            yield AttributeOccurrence(i, kind, value, value in text)


def value_spans(text: str, value: str) -> list[tuple[int, int]]:
    """Return where a value stands in a text: by itself, or else, where it never does, inside of longer words."""
    found = [m.span() for m in re.finditer(re.escape(value), text)]
    alone = [(a, b) for a, b in found if not _is_inside_word(text, a) and not _is_inside_word(text, b)]
    return alone or found


def _is_inside_word(text: str, position: int) -> bool:
    """Whether letters or digits stand on both sides of a place."""
    return 0 < position < len(text) and text[position - 1].isalnum() and text[position].isalnum()


def replace_value(text: str, value: str, replacement: str) -> str:
    """Return the text with another value wherever this one stands."""
    parts, at = [], 0
    for begin, end in value_spans(text, value):
        parts += [text[at:begin], replacement]
        at = end
    return "".join([*parts, text[at:]])


def conditioning_ids(model: LanguageModel, tokens: Tokens) -> list[_prefix.TokenIds]:
    """Return what conditions each text: BOS and its prompt, as they stand in `tokens`."""
    bos = len(bos_ids(model.tokenizer))
    prompts = _prefix.prompt_ids(model, tokens)
    return [tokens.ids[start : start + bos + len(own)] for start, own in zip(tokens.starts[:-1], prompts, strict=True)]


def candidate_logprobs(model: Scorer, candidates: Candidates) -> Variants:
    """Return the mean log-probability (nats) of each reading; raises `DataError` for one longer than the context."""
    context, virtual = model.model.context_length, _prefix.virtual_token_count(model.model)
    longest = int(np.diff(candidates.offsets).max())
    if context is not None and longest + virtual > context:
        raise DataError(
            f"with another attribute a text has {longest} tokens, with {virtual} virtual ones more than the model's context "
            f"of {context}; lower data.max_tokens by {longest + virtual - context} or more"
        )
    found = _neighbours.mean_logprobs(model, candidates.ids, candidates.offsets, candidates.first)
    return Variants(loglik=found, starts=candidates.starts)


def generated_attributes(model: Scorer, tokens: Tokens, attributes: Sequence[Mapping[str, str]]) -> RecitedAttributes:
    """Return what the model writes from where each attribute begins, and what stands there."""
    there = attribute_kinds(attributes)
    left_out = np.zeros(len(there), dtype=np.int64)
    fronts, room = conditioning_ids(model.model, tokens), _prefix.free_context(model.model, tokens)
    openings: list[GenerationRequest] = []
    asked: list[AttributeOccurrence] = []
    expected: list[str] = []
    for place in attribute_occurrences(tokens, attributes):
        text, lead = tokens.texts.scored[place.text_index], fronts[place.text_index]
        own = tokens.ids[tokens.starts[place.text_index] + len(lead) : tokens.starts[place.text_index + 1]]
        begin, end = value_spans(text, place.value)[0] if place.is_in_text else (0, 0)
        kept, said = _tokens_and_characters_before(model.model, own, text, begin)
        if not place.is_in_text or len(lead) + kept == 0:
            left_out[there.index(place.kind)] += 1
            continue
        upto = next((t for t in range(kept, len(own)) if len(_decoded(model.model, own[:t])) >= end), len(own))
        asked.append(place)
        free = EXTRA_TOKENS if room is None else min(EXTRA_TOKENS, int(room[place.text_index]) + len(own) - upto)
        openings.append(GenerationRequest(np.concatenate([lead, own[:kept]]), upto - kept + free))
        expected.append(text[said:end])
    written = generate_greedy(model.model, openings, budget=model.budget, precision=model.precision)
    return RecitedAttributes(
        kinds=there,
        kind=np.array([there.index(p.kind) for p in asked], dtype=np.int64),
        text=np.array([p.text_index for p in asked], dtype=np.int64),
        written=tuple(_decoded(model.model, w) for w in written),
        expected=tuple(expected),
        left_out=left_out,
    )


def _tokens_and_characters_before(
    model: LanguageModel, ids: _prefix.TokenIds, text: str, position: int
) -> tuple[int, int]:
    """Return how many of a text's tokens stand wholly before a place, and how many characters these are.

    They are the text's own tokens, those that it was trained on: cut into tokens anew, a beginning ends otherwise.
    """
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(_decoded(model, ids[:middle])) <= position else (low, middle - 1)
    while low and not text.startswith(_decoded(model, ids[:low])):
        low -= 1  # it ended within a character
    return low, len(_decoded(model, ids[:low]))


def _decoded(model: LanguageModel, ids: _prefix.TokenIds) -> str:
    return model.tokenizer.batch_decode([ids.tolist()], clean_up_tokenization_spaces=False)[0]
