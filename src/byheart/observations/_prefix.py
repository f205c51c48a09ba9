"""What stands before a text when it is read in another context: known texts as shots, or one probe.

A shot or a probe is prompt and completion joined as where they were trained on, without BOS, and a separator follows it,
the last one's too; then come the text's own prompt and the text. BOS stands first, once. The scored tokens stay the
text's: its first is not scored after a shot either where, with nothing before it, it could not be.

The models' context bounds it all, virtual tokens counted; the text itself is never cut.
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
from byheart.lm.tokens import Tokens, bos_ids

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.load import LanguageModel

SEPARATOR = "\n\n"

TokenIds = Int[np.ndarray, " ids"]


def encode_without_special_tokens(model: LanguageModel, strings: Sequence[str]) -> list[TokenIds]:
    """Return the strings' token ids, nothing put before them."""
    found = model.tokenizer(list(strings), add_special_tokens=False)["input_ids"]
    return [np.array(ids, dtype=np.int64) for ids in found]


def ids_without_bos(model: LanguageModel, tokens: Tokens) -> list[TokenIds]:
    """Return each text's ids, its prompt's included."""
    bos = len(bos_ids(model.tokenizer))
    return [tokens.ids[tokens.starts[i] + bos : tokens.starts[i + 1]] for i in range(len(tokens))]


def prompt_ids(model: LanguageModel, tokens: Tokens) -> list[TokenIds]:
    """Return the ids of each text's prompt, cut as in `tokens`; none where it has none."""
    bos = len(bos_ids(model.tokenizer))
    # Without BOS and prompt the first token is the text's own, though it is not scored.
    led = [len(ids) > 0 for ids in encode_without_special_tokens(model, tokens.texts.prompts)]
    return [
        tokens.ids[start + bos : start + (first if prompt else bos)]
        for start, first, prompt in zip(tokens.starts[:-1], tokens.first, led, strict=True)
    ]


def free_context(model: LanguageModel, tokens: Tokens) -> Int[np.ndarray, " texts"] | None:
    """Return how many tokens each text leaves free in the model's context; None where that is not known."""
    if model.context_length is None:
        return None
    return model.context_length - virtual_token_count(model) - tokens.lengths


def virtual_token_count(model: LanguageModel) -> int:
    """Return how many places of the context a prompt method has taken; 0 before it has, and for any other."""
    if not isinstance(model.module, PeftModel):
        return 0
    config = model.module.active_peft_config
    return (config.num_virtual_tokens or 0) if isinstance(config, PromptLearningConfig) else 0


def shuffled_order(known: Tokens, seed: int) -> list[int]:
    """Return the known texts in an order that their own words and the seed draw, however they are listed."""
    texts = zip(known.texts.prompts, known.texts.scored, strict=True)
    keys = [digest([(str(seed), prompt, scored)]) for prompt, scored in texts]
    return sorted(range(len(known)), key=lambda i: keys[i])


def check_known_count(error_prefix: str, setting: str, count: int, known: Tokens) -> None:
    """Raise `DataError` where more known texts are asked for than there are."""
    if len(known) < count:
        raise DataError(
            f"{error_prefix}: {setting} = {count}, but there are {len(known)} known texts; set data.known to {count} or more, "
            f"or {setting} to {len(known)} or fewer"
        )


def logprobs_after_shots(
    model: Scorer, tokens: Tokens, known: Tokens, *, error_prefix: str, shots: int, separator: str, seed: int
) -> LogProbs:
    """Log-probabilities of the texts' scored tokens after the same `shots` of the known texts.

    A known text that does not fit beside the longest text is passed over; where fewer than `shots` fit, these are all.
    Raises `DataError` where there are fewer known texts, and where none fits.
    """
    check_known_count(error_prefix, "shots", shots, known)
    free = free_context(model.model, tokens)
    left = np.inf if free is None else int(free.min())
    between, bare = encode_without_special_tokens(model.model, [separator])[0], ids_without_bos(model.model, known)
    taken: list[TokenIds] = []
    for i in shuffled_order(known, seed):
        shot = np.concatenate([bare[i], between])
        if len(taken) < shots and len(shot) <= left:
            taken.append(shot)
            left -= len(shot)
    if not taken:
        raise _context_full_error(error_prefix, "known text", model.model, tokens, between)
    whole = np.concatenate(taken)
    found = model(prepend(model.model, tokens, [whole] * len(tokens)))
    return LogProbs(logp=found.logp, starts=found.starts)


def mean_logprobs_after_probes(
    model: Scorer, tokens: Tokens, probes: Iterable[Sequence[TokenIds]], *, error_prefix: str, separator: str
) -> Variants:
    """Mean log-probability (nats per token) of each text's scored tokens after each probe; a probe for every text at a time.

    A probe that is too long loses its beginning. Raises `DataError` where a text leaves no room for any.
    """
    free = free_context(model.model, tokens)
    between = encode_without_special_tokens(model.model, [separator])[0]
    if free is not None and free.min() <= len(between):
        raise _context_full_error(error_prefix, "probe", model.model, tokens, between)
    # A trunk that cannot change is passed anew all the same: what it would remember of every probe is more than memory holds.
    model = dataclasses.replace(model, model=dataclasses.replace(model.model, hidden=None))
    longest = np.full(len(tokens), np.iinfo(np.int64).max) if free is None else free - len(between)
    readings = []
    for those in probes:
        kept = [probe[max(len(probe) - most, 0) :] for probe, most in zip(those, longest, strict=True)]
        found = model(prepend(model.model, tokens, [np.concatenate([probe, between]) for probe in kept]))
        readings.append(ragged.means(found.logp, found.starts))
    return Variants(loglik=np.stack(readings, axis=1).ravel(), starts=np.arange(len(tokens) + 1) * len(readings))


def prepend(model: LanguageModel, tokens: Tokens, prefixes: Sequence[TokenIds]) -> Tokens:
    """Return the texts with these ids put before each, behind BOS; what is scored stays the same."""
    bos = np.array(bos_ids(model.tokenizer), dtype=np.int64)
    rows = [np.concatenate([bos, ids, own]) for ids, own in zip(prefixes, ids_without_bos(model, tokens), strict=True)]
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    first = tokens.first + np.array([len(ids) for ids in prefixes], dtype=np.int64)
    return dataclasses.replace(tokens, ids=np.concatenate(rows), starts=starts, first=first)


def _context_full_error(
    error_prefix: str, prefix_kind: str, model: LanguageModel, tokens: Tokens, separator_ids: TokenIds
) -> DataError:
    assert model.context_length is not None, "bounds nothing"  # noqa: S101 - for the type checker
    virtual = virtual_token_count(model)
    taken = f"the longest text has {tokens.lengths.max()} tokens" + (
        f", with {virtual} virtual ones" if virtual else ""
    )
    most = (model.context_length - virtual - len(separator_ids)) // 2
    return DataError(
        f"{error_prefix}: {taken}, which leaves no {prefix_kind} room in the model's context of {model.context_length}; "
        f"set data.max_tokens to {most} or fewer"
    )
