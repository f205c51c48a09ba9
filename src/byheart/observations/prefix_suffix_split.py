"""Where each text is parted into what a model is handed and what it is to go on with. No model is asked.

Whoever uses it must have the beginnings of the texts. The usual parting is 50 tokens and 50 (Carlini et al., arXiv
2202.07646; Nasr et al., arXiv 2311.17035), which leaves out every text of fewer than 100. Nothing is left out here:

- A text with a prompt is parted after the prompt, all of which is handed over, whatever `prefix` is: it is what stood
  before the completion in training.
- Of any other text the first 50 tokens are handed over, or its first half where that is fewer. A BOS counts as one.
- A `prefix` that is given is kept to the token. A text that has no more tokens than that leaves nothing to extract, and is
  refused, since a text left out of one attack would be missing from every comparison.
- At most `suffix` tokens are to be had, fewer where the text ends. Each text's number is kept beside its score: of two
  tokens many a model knows the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.errors import DataError
from byheart.core.evidence import Suffixes

if TYPE_CHECKING:
    from byheart.lm.tokens import Tokens

PASSES = 0.0
ADVERSARY = "the beginning of each text"
DEFAULT_PREFIX_TOKENS = 50
"""Tokens of a prefix where nobody says how many, in a text that has twice as many."""


def prefix_suffix_split(
    tokens: Tokens, *, prefix: Annotated[int, Ge(1)] | None = None, suffix: Annotated[int, Ge(1)] = 50
) -> Suffixes:
    """Places at which each audited text's beginning ends, and at which what is to be extracted does.

    Raises `DataError` for a `prefix` that is as long as a text.
    """
    prompted = np.array([bool(p) for p in tokens.texts.prompts], dtype=np.bool_)
    own = np.minimum(DEFAULT_PREFIX_TOKENS, tokens.lengths // 2) if prefix is None else np.full(len(tokens), prefix)
    begin = np.where(prompted, tokens.first, own)
    short = begin >= tokens.lengths
    if short.any():
        i = int(np.argmax(short))
        raise DataError(
            f"prefix_suffix_split: prefix = {prefix}: {int(short.sum())} of {len(tokens)} texts have no token after so many "
            f"({tokens.texts.ids[i]!r} has {tokens.lengths[i]}); write a prefix of {int(tokens.lengths[~prompted].min()) - 1} or "
            "fewer, or none for at most half of each text"
        )
    return Suffixes(begin=begin, end=np.minimum(begin + suffix, tokens.lengths))
