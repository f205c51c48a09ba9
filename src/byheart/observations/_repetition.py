"""A text read twice in a row, the second reading scored: what both `repeated` and `known_nonmembers_repeated` do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.types import LogProbs, Texts
from byheart.lm.tokens import Tokens, bos_ids

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

SEPARATOR = "\n"
"""What stands between the readings: a text's last word is not to run into its first."""


def second_reading_logprobs(model: Scorer, tokens: Tokens) -> LogProbs:
    """Log-probabilities of the scored tokens, read once more after the text and its prompt.

    A first reading that the context has no room for loses its beginning, the second loses nothing.
    """
    tokenizer = model.model.tokenizer
    bos = len(bos_ids(tokenizer))
    between = np.array(tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"], dtype=np.int64)
    rows, first = [], []
    for i in range(len(tokens)):
        own = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        before = np.concatenate([own[bos:], between])
        if model.model.max_text_tokens is not None:
            before = before[max(len(before) + len(own) - model.model.max_text_tokens, 0) :]
        rows.append(np.concatenate([own[:bos], before, own[bos:]]))
        first.append(tokens.first[i] + len(before))
    told = zip(tokens.texts.prompts, tokens.texts.scored, strict=True)
    # Texts of their own: a model may remember hidden states by them.
    texts = Texts(tokens.texts.ids, tokens.texts.scored, tuple(f"{p}{s}{SEPARATOR}{p}" for p, s in told))
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    first = np.array(first, dtype=np.int64)
    stats = model(dataclasses.replace(tokens, ids=np.concatenate(rows), starts=starts, first=first, texts=texts))
    return LogProbs(logp=stats.logp, starts=stats.starts)
