"""Private attributes in the audited texts or in their prompts: positions, replaced values, and what a model generates there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byheart.core.errors import DataError
from byheart.core.evidence import Candidates, RecitedAttributes, Variants
from byheart.data.private_attributes import attribute_kinds
from byheart.lm.generate import GenerationRequest, generate_greedy
from byheart.lm.special_tokens import bos_ids
from byheart.observations import _neighbours, _prefix

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.load import LanguageModel
    from byheart.lm.tokens import Tokens

EXTRA_TOKENS = 8
"""Tokens beyond those of the true value that a model may generate, because it may use other tokens for the same value."""


class Passage(NamedTuple):
    """A part of an audited text that contains private values: its string and its ids, the ids before it, and the ids after it."""

    string: str
    before: _prefix.TokenIds
    ids: _prefix.TokenIds
    after: _prefix.TokenIds


class AttributeOccurrence(NamedTuple):
    """An attribute of an audited text: index of the text, kind, value, and whether the (possibly truncated) passage contains it."""

    text_index: int
    kind: str
    value: str
    is_in_passage: bool


def scored_passages(model: LanguageModel, tokens: Tokens) -> list[Passage]:
    """Return the scored part of each text, after BOS and prompt."""
    conditioning = conditioning_ids(model, tokens)
    rows = [tokens.ids[a:b] for a, b in zip(tokens.starts[:-1], tokens.starts[1:], strict=True)]
    nothing = np.zeros(0, dtype=np.int64)
    return [
        Passage(string, before, row[len(before) :], nothing)
        for string, before, row in zip(tokens.texts.scored, conditioning, rows, strict=True)
    ]


def prompt_passages(model: LanguageModel, tokens: Tokens) -> list[Passage]:
    """Return the prompt of each text as its tokens spell it, between BOS and the completion without its end token.

    A long prompt lost its beginning, and its last characters can be in the completion's first token.
    """
    passages: list[Passage] = []
    bos = len(bos_ids(model.tokenizer))
    for i, ids in enumerate(_prefix.prompt_ids(model, tokens)):
        row = tokens.ids[tokens.starts[i] :][: tokens.text_lengths[i]]
        prompt, spelled = tokens.texts.prompts[i], _decoded(model, ids)
        is_spelled = tokens.cut[i] > 0 or prompt.startswith(spelled)
        passages.append(Passage(spelled if is_spelled else prompt, row[:bos], ids, row[bos + len(ids) :]))
    return passages


def prompt_attributes(tokens: Tokens, attributes: Sequence[Mapping[str, str]], requester: str) -> list[dict[str, str]]:
    """Return the attributes that stand in a prompt and not in the text after it; raises `DataError` without any."""
    texts = tokens.texts
    in_prompts = [
        {kind: value for kind, value in own.items() if value in prompt and value not in scored}
        for prompt, scored, own in zip(texts.prompts, texts.scored, attributes, strict=True)
    ]
    if not any(in_prompts):
        raise DataError(
            f"{requester}: no private value stands in a prompt and not in the text after it. Name such fields with "
            "files: {path: ..., prompt: ..., completion: ..., attributes: [...]}, or use the metrics without prompt_."
        )
    return in_prompts


def attribute_occurrences(
    passages: Sequence[Passage], attributes: Sequence[Mapping[str, str]]
) -> Iterator[AttributeOccurrence]:
    """Yield every attribute in the order of the texts, sorted by kind within a text."""
    for i, (passage, text_attributes) in enumerate(zip(passages, attributes, strict=True)):
        for kind, value in sorted(text_attributes.items()):
            yield AttributeOccurrence(i, kind, value, value in passage.string)


def value_spans(text: str, value: str) -> list[tuple[int, int]]:
    """Return where a value occurs in a text: as whole words, or inside longer words if it never occurs as whole words."""
    spans = [m.span() for m in re.finditer(re.escape(value), text)]
    whole_word_spans = [(a, b) for a, b in spans if not _is_inside_word(text, a) and not _is_inside_word(text, b)]
    return whole_word_spans or spans


def _is_inside_word(text: str, position: int) -> bool:
    """Return whether a position has letters or digits on both sides."""
    return 0 < position < len(text) and text[position - 1].isalnum() and text[position].isalnum()


def replace_value(text: str, value: str, replacement: str) -> str:
    """Return the text with every occurrence of a value replaced."""
    parts, position = [], 0
    for begin, end in value_spans(text, value):
        parts += [text[position:begin], replacement]
        position = end
    return "".join([*parts, text[position:]])


def conditioning_ids(model: LanguageModel, tokens: Tokens) -> list[_prefix.TokenIds]:
    """Return the ids that condition each text: BOS and its prompt, as in `tokens`."""
    bos = len(bos_ids(model.tokenizer))
    prompts = _prefix.prompt_ids(model, tokens)
    return [
        tokens.ids[start : start + bos + len(prompt)] for start, prompt in zip(tokens.starts[:-1], prompts, strict=True)
    ]


def candidate_logprobs(model: Scorer, candidates: Candidates) -> Variants:
    """Return the mean log-probability (nats per token) of each candidate reading.

    Raises `DataError` for a reading longer than the model's context.
    """
    check_readings_fit(model, candidates)
    logprobs = _neighbours.mean_logprobs(model, candidates.ids, candidates.offsets, candidates.first)
    return Variants(loglik=logprobs, starts=candidates.starts)


def check_readings_fit(model: Scorer, candidates: Candidates) -> None:
    """Raise `DataError` for a reading longer than the model's context."""
    context, virtual = model.model.context_length, _prefix.virtual_token_count(model.model)
    longest = int(np.diff(candidates.offsets).max())
    if context is not None and longest + virtual > context:
        raise DataError(
            f"observations candidate_likelihoods: with another attribute value a text has {longest} tokens, which with {virtual} virtual "
            f"tokens exceeds the model's context of {context}. Lower data.max_tokens by {longest + virtual - context} or more."
        )


def generated_attributes(
    model: Scorer, tokens: Tokens, attributes: Sequence[Mapping[str, str]], *, in_prompts: bool = False
) -> RecitedAttributes:
    """Return what the model generates at the position of each attribute, and the true text there.

    The attributes are those of the scored parts, or with `in_prompts` of the prompts.
    """
    kinds = attribute_kinds(attributes)
    left_out = np.zeros(len(kinds), dtype=np.int64)
    passages = (prompt_passages if in_prompts else scored_passages)(model.model, tokens)
    free_tokens = _prefix.free_context(model.model, tokens)
    requests: list[GenerationRequest] = []
    occurrences: list[AttributeOccurrence] = []
    expected: list[str] = []
    for occurrence in attribute_occurrences(passages, attributes):
        text, prefix, text_ids, after = passages[occurrence.text_index]
        begin, end = value_spans(text, occurrence.value)[0] if occurrence.is_in_passage else (0, 0)
        token_count, character_count = _tokens_and_characters_before(model.model, text_ids, text, begin)
        if not occurrence.is_in_passage or len(prefix) + token_count == 0:
            left_out[kinds.index(occurrence.kind)] += 1
            continue
        value_end = next(
            (t for t in range(token_count, len(text_ids)) if len(_decoded(model.model, text_ids[:t])) >= end),
            len(text_ids),
        )
        occurrences.append(occurrence)
        extra = (
            EXTRA_TOKENS
            if free_tokens is None
            else min(EXTRA_TOKENS, int(free_tokens[occurrence.text_index]) + len(text_ids) + len(after) - value_end)
        )
        requests.append(
            GenerationRequest(np.concatenate([prefix, text_ids[:token_count]]), value_end - token_count + extra)
        )
        expected.append(text[character_count:end])
    generated = generate_greedy(model.model, requests, budget=model.budget, precision=model.precision)
    return RecitedAttributes(
        kinds=kinds,
        kind=np.array([kinds.index(o.kind) for o in occurrences], dtype=np.int64),
        text=np.array([o.text_index for o in occurrences], dtype=np.int64),
        written=tuple(_decoded(model.model, ids) for ids in generated),
        expected=tuple(expected),
        left_out=left_out,
    )


def _tokens_and_characters_before(
    model: LanguageModel, ids: _prefix.TokenIds, text: str, position: int
) -> tuple[int, int]:
    """Return how many of a text's tokens end at or before a position, and how many characters they have.

    Uses the text's own tokens, which the model was trained on: tokenizing the beginning anew may end in other tokens.
    """
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(_decoded(model, ids[:middle])) <= position else (low, middle - 1)
    while low and not text.startswith(_decoded(model, ids[:low])):
        low -= 1  # the last token ended within a character
    return low, len(_decoded(model, ids[:low]))


def _decoded(model: LanguageModel, ids: _prefix.TokenIds) -> str:
    """Return the string of token ids."""
    return model.tokenizer.batch_decode([ids.tolist()], clean_up_tokenization_spaces=False)[0]
