"""Scores the second of two consecutive readings of a text; used by `repeated` and `known_nonmembers_repeated`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.types import LogProbs, Texts
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

SEPARATOR = "\n"
"""Separates the readings, so that the last word of the first does not join the first word of the second."""


def second_reading_logprobs(model: Scorer, tokens: Tokens) -> LogProbs:
    """Return log-probabilities of the scored tokens in a second reading, after the text and its prompt.

    If the context has no room for both, the first reading loses its beginning; the second is never truncated.
    """
    tokenizer = model.model.tokenizer
    bos = len(bos_ids(tokenizer))
    separator_ids = np.array(tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"], dtype=np.int64)
    rows, first = [], []
    for i in range(len(tokens)):
        text_ids = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        first_reading = np.concatenate([text_ids[bos : tokens.text_lengths[i]], separator_ids])
        if model.model.max_text_tokens is not None:
            first_reading = first_reading[max(len(first_reading) + len(text_ids) - model.model.max_text_tokens, 0) :]
        rows.append(np.concatenate([text_ids[:bos], first_reading, text_ids[bos:]]))
        first.append(tokens.first[i] + len(first_reading))
    prompted_texts = zip(tokens.texts.prompts, tokens.texts.scored, strict=True)
    # New texts, because a model may cache hidden states by text.
    texts = Texts(tokens.texts.ids, tokens.texts.scored, tuple(f"{p}{s}{SEPARATOR}{p}" for p, s in prompted_texts))
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    first = np.array(first, dtype=np.int64)
    stats = model(dataclasses.replace(tokens, ids=np.concatenate(rows), starts=starts, first=first, texts=texts))
    return LogProbs(logp=stats.logp, starts=stats.starts)
