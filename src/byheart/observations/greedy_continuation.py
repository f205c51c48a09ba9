"""The model under attack goes on from each text's beginning, always with its likeliest token.

Whoever uses it needs no numbers from the model, only what it writes. Beginnings stand as in training: after BOS, prompt
and virtual tokens where there are any. All texts of about one length are written together and every token is read once,
so that it costs as many tokens of work as one pass over the texts, if many small ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byheart.core.evidence import Recitation, Suffixes
from byheart.lm.generate import GenerationRequest, generate_greedy

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "what the model under attack writes, and the beginning of each text"


def greedy_continuation(model: Scorer, tokens: Tokens, prefix_suffix_split: Suffixes) -> Recitation:
    """What the model that is attacked writes after each text's beginning, and how the text itself goes on."""
    starts = tokens.starts[:-1]
    openings = [
        GenerationRequest(tokens.ids[at : at + begin], int(end - begin))
        for at, begin, end in zip(starts, prefix_suffix_split.begin, prefix_suffix_split.end, strict=True)
    ]
    true = [
        tokens.ids[at + b : at + e]
        for at, b, e in zip(starts, prefix_suffix_split.begin, prefix_suffix_split.end, strict=True)
    ]
    written = generate_greedy(model.model, openings, budget=model.budget, precision=model.precision)
    return Recitation(
        true=np.concatenate(true),
        starts=np.cumsum([0, *map(len, true)]),
        written=np.concatenate(written).astype(np.int64),
        written_starts=np.cumsum([0, *map(len, written)]),
    )
