"""Texts scored after a prefix: known texts as shots, or one probe.

A shot or a probe is a prompt and completion joined as in training, without BOS and end token, followed by a separator. After the
prefix come the text's own prompt and the text. BOS comes first, once. The scored tokens stay the same: a first token that is not
scored without a prefix is not scored after one.

The model's context limits the total length, virtual tokens included; the text itself is never truncated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from peft import PeftModel, PromptLearningConfig

from byheart.core import ragged
from byheart.core.errors import DataError
from byheart.core.evidence import Variants
from byheart.core.types import LogProbs, digest
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.load import LanguageModel

SEPARATOR = "\n\n"

TokenIds = Int[np.ndarray, " ids"]


def encode_without_special_tokens(model: LanguageModel, strings: Sequence[str]) -> list[TokenIds]:
    """Return the strings' token ids, without BOS or other special tokens."""
    encoded = model.tokenizer(list(strings), add_special_tokens=False)["input_ids"]
    return [np.array(ids, dtype=np.int64) for ids in encoded]


def ids_without_bos(model: LanguageModel, tokens: Tokens) -> list[TokenIds]:
    """Return each text's ids, including its prompt, without BOS."""
    bos = len(bos_ids(model.tokenizer))
    return [tokens.ids[tokens.starts[i] + bos : tokens.starts[i + 1]] for i in range(len(tokens))]


def shot_ids(model: LanguageModel, tokens: Tokens) -> list[TokenIds]:
    """Return each text's ids, including its prompt, without BOS and end token."""
    bos = len(bos_ids(model.tokenizer))
    return [
        tokens.ids[start + bos : start + n] for start, n in zip(tokens.starts[:-1], tokens.text_lengths, strict=True)
    ]


def prompt_ids(model: LanguageModel, tokens: Tokens) -> list[TokenIds]:
    """Return the ids of each text's prompt, truncated as in `tokens`; empty without a prompt."""
    bos = len(bos_ids(model.tokenizer))
    # Without BOS and prompt, the first token belongs to the text although it is not scored.
    has_prompt = [len(ids) > 0 for ids in encode_without_special_tokens(model, tokens.texts.prompts)]
    return [
        tokens.ids[start + bos : start + (first if prompt else bos)]
        for start, first, prompt in zip(tokens.starts[:-1], tokens.first, has_prompt, strict=True)
    ]


def free_context(model: LanguageModel, tokens: Tokens) -> Int[np.ndarray, " texts"] | None:
    """Return how many tokens of the model's context each text leaves free; None if the context length is unknown."""
    if model.context_length is None:
        return None
    return model.context_length - virtual_token_count(model) - tokens.lengths


def virtual_token_count(model: LanguageModel) -> int:
    """Return how many context positions the virtual tokens of a prompt method occupy; 0 before training and for other methods."""
    if not isinstance(model.module, PeftModel):
        return 0
    config = model.module.active_peft_config
    return (config.num_virtual_tokens or 0) if isinstance(config, PromptLearningConfig) else 0


def shuffled_order(known: Tokens, seed: int) -> list[int]:
    """Return a random order of the known texts that depends only on their content and the seed, not on how they are listed."""
    texts = zip(known.texts.prompts, known.texts.scored, strict=True)
    keys = [digest([(str(seed), prompt, scored)]) for prompt, scored in texts]
    return sorted(range(len(known)), key=lambda i: keys[i])


def check_known_count(error_prefix: str, setting: str, count: int, known: Tokens) -> None:
    """Raise `DataError` if `count` is larger than the number of known texts."""
    if len(known) < count:
        raise DataError(
            f"{error_prefix}: {setting} = {count}, but there are {len(known)} known texts. Set data.known to {count} or more, "
            f"or {setting} to {len(known)} or fewer."
        )


def logprobs_after_shots(
    model: Scorer, tokens: Tokens, known: Tokens, *, error_prefix: str, shots: int, separator: str, seed: int
) -> LogProbs:
    """Return log-probabilities of the texts' scored tokens after the same `shots` known texts.

    Skips a known text that does not fit beside the longest text, and uses fewer than `shots` if no more fit. Raises `DataError` if
    there are fewer known texts, or none fits.
    """
    check_known_count(error_prefix, "shots", shots, known)
    free = free_context(model.model, tokens)
    free_tokens = np.inf if free is None else int(free.min())
    separator_ids, known_ids = (
        encode_without_special_tokens(model.model, [separator])[0],
        shot_ids(model.model, known),
    )
    selected: list[TokenIds] = []
    for i in shuffled_order(known, seed):
        shot = np.concatenate([known_ids[i], separator_ids])
        if len(selected) < shots and len(shot) <= free_tokens:
            selected.append(shot)
            free_tokens -= len(shot)
    if not selected:
        raise _context_full_error(error_prefix, "known text", model.model, tokens, separator_ids)
    prefix = np.concatenate(selected)
    stats = model(prepend(model.model, tokens, [prefix] * len(tokens)))
    return LogProbs(logp=stats.logp, starts=stats.starts)


def mean_logprobs_after_probes(
    model: Scorer, tokens: Tokens, probes: Iterable[Sequence[TokenIds]], *, error_prefix: str, separator: str
) -> Variants:
    """Return the mean log-probability (nats per token) of each text's scored tokens after each probe.

    `probes` yields one probe for every text at a time. A probe that does not fit loses its beginning. Raises `DataError` if a text
    leaves no room for a probe.
    """
    free = free_context(model.model, tokens)
    separator_ids = encode_without_special_tokens(model.model, [separator])[0]
    if free is not None and free.min() <= len(separator_ids):
        raise _context_full_error(error_prefix, "probe", model.model, tokens, separator_ids)
    # No cache of hidden states, even for a frozen trunk: those of all probes do not fit in memory.
    model = dataclasses.replace(model, model=dataclasses.replace(model.model, hidden=None))
    max_lengths = np.full(len(tokens), np.iinfo(np.int64).max) if free is None else free - len(separator_ids)
    means = []
    for text_probes in probes:
        truncated = [
            probe[max(len(probe) - max_length, 0) :] for probe, max_length in zip(text_probes, max_lengths, strict=True)
        ]
        stats = model(prepend(model.model, tokens, [np.concatenate([probe, separator_ids]) for probe in truncated]))
        means.append(ragged.means(stats.logp, stats.starts))
    return Variants(loglik=np.stack(means, axis=1).ravel(), starts=np.arange(len(tokens) + 1) * len(means))


def prepend(model: LanguageModel, tokens: Tokens, prefixes: Sequence[TokenIds]) -> Tokens:
    """Return the texts with a prefix before each, after BOS; the scored tokens stay the same."""
    bos = np.array(bos_ids(model.tokenizer), dtype=np.int64)
    rows = [
        np.concatenate([bos, ids, text_ids])
        for ids, text_ids in zip(prefixes, ids_without_bos(model, tokens), strict=True)
    ]
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    first = tokens.first + np.array([len(ids) for ids in prefixes], dtype=np.int64)
    return dataclasses.replace(tokens, ids=np.concatenate(rows), starts=starts, first=first)


def _context_full_error(
    error_prefix: str, prefix_kind: str, model: LanguageModel, tokens: Tokens, separator_ids: TokenIds
) -> DataError:
    """Return the error for a text that leaves no room for a known text or probe in the model's context."""
    assert model.context_length is not None, "an unlimited context cannot be full"  # noqa: S101 - for the type checker
    virtual = virtual_token_count(model)
    used = f"{tokens.lengths.max()} tokens" + (f" and {virtual} virtual tokens" if virtual else "")
    max_tokens = (model.context_length - virtual - len(separator_ids)) // 2
    return DataError(
        f"{error_prefix}: the longest text has {used}, which leaves no room for a {prefix_kind} in the model's context of "
        f"{model.context_length}. Set data.max_tokens to {max_tokens} or fewer."
    )
