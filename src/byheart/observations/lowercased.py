"""Scores every audited text in lower case with the target model; needs no other model.

The scored text is lower-cased and tokenized anew; its context (BOS and prompt, truncated as in `target`) is unchanged. A text that
lower-casing does not change keeps its tokens, because tokenizing a truncated text anew may give other tokens. A text without a
scorable token in lower case (a single token without context) also keeps its tokens.

No text is longer in tokens than the longest audited text, which has `max_tokens` if any text was truncated. A text that is longer
in lower case loses its end.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.types import Texts, TokenStats
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

ADVERSARY = "log-probabilities of the target model"


def lowercased(model: Scorer, tokens: Tokens) -> TokenStats:
    """Token statistics (nats) of the audited texts in lower case under the target model; a higher log-probability is likelier."""
    return model(_lowercase_tokens(model, tokens))


def _lowercase_tokens(model: Scorer, tokens: Tokens) -> Tokens:
    """Return the tokens of the texts in lower case, each with its unchanged context."""
    tokenizer = model.model.tokenizer
    lower_texts = tuple(text.lower() for text in tokens.texts.scored)
    encoded = tokenizer(list(lower_texts), add_special_tokens=False)["input_ids"]
    has_bos = bool(bos_ids(tokenizer))
    max_length = int(tokens.lengths.max())
    rows, scored_texts = [], []
    for i, (text, ids) in enumerate(zip(lower_texts, encoded, strict=True)):
        text_ids = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        # Without BOS and prompt, the unscored first token belongs to the text itself.
        has_context = has_bos or bool(tokenizer(tokens.texts.prompts[i], add_special_tokens=False)["input_ids"])
        context = text_ids[: tokens.first[i] if has_context else 0]
        end = text_ids[tokens.text_lengths[i] :]
        row = np.concatenate([context, np.array(ids, dtype=np.int64), end])[:max_length]
        is_changed = text != tokens.texts.scored[i] and len(row) > tokens.first[i] + len(end)
        rows.append(row if is_changed else text_ids)
        scored_texts.append(text if is_changed else tokens.texts.scored[i])
    texts = Texts(tokens.texts.ids, tuple(scored_texts), tokens.texts.prompts)
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return dataclasses.replace(tokens, ids=np.concatenate(rows), starts=starts, texts=texts)
