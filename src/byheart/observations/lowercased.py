"""The model under attack reads every audited text in lower case; no model but the attacked one is needed.

The scored text is lower-cased and cut into tokens for itself; what conditions it (BOS, prompt, cut as in `target`)
stays as it is. A text that lower-casing does not change keeps its very tokens: cut into tokens again, what is left of a
text that was too long may come out otherwise. So does one that in lower case has no token that can be scored (a single
token with nothing before it): lower-casing tells nothing of it.

No text is longer in tokens than the longest audited one, which is `max_tokens` where any text was cut and fits the
model's context with virtual tokens; what is longer in lower case loses its end.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from byheart.core.types import Texts, TokenStats
from byheart.lm.tokens import Tokens, bos_ids

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer

ADVERSARY = "log-probabilities of the model under attack"


def lowercased(model: Scorer, tokens: Tokens) -> TokenStats:
    """Token statistics of the audited texts in lower case under the model that is attacked."""
    return model(_lowercase_tokens(model, tokens))


def _lowercase_tokens(model: Scorer, tokens: Tokens) -> Tokens:
    tokenizer = model.model.tokenizer
    lower = tuple(text.lower() for text in tokens.texts.scored)
    plain = tokenizer(list(lower), add_special_tokens=False)["input_ids"]
    bos = bool(bos_ids(tokenizer))
    longest = int(tokens.lengths.max())
    rows, kept = [], []
    for i, (text, ids) in enumerate(zip(lower, plain, strict=True)):
        own = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        # Without BOS and prompt the first token of the text itself is the one that is not scored.
        led = bos or bool(tokenizer(tokens.texts.prompts[i], add_special_tokens=False)["input_ids"])
        lead = own[: tokens.first[i] if led else 0]
        row = np.concatenate([lead, np.array(ids, dtype=np.int64)])[:longest]
        changed = text != tokens.texts.scored[i] and len(row) > tokens.first[i]
        rows.append(row if changed else own)
        kept.append(text if changed else tokens.texts.scored[i])
    texts = Texts(tokens.texts.ids, tuple(kept), tokens.texts.prompts)
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return dataclasses.replace(tokens, ids=np.concatenate(rows), starts=starts, texts=texts)
