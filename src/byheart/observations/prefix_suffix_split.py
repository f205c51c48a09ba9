"""Splits each text into a prefix, which the model is given, and a suffix, which it must generate; uses no model.

The adversary needs the prefixes of the texts. The usual split is 50 and 50 tokens (Carlini et al., arXiv 2202.07646; Nasr et al.,
arXiv 2311.17035), which leaves out every text of fewer than 100 tokens. Here no text is left out:

- For a text with a prompt, the prefix is the whole prompt, whatever `prefix` is, because it preceded the completion in training.
- For any other text, the prefix is the first 50 tokens, or the first half if that is shorter. A BOS counts as a token.
- A `prefix` that is set is exact. A text with no more tokens than that has no suffix and raises an error, because a text left
  out of one attack would be missing from every comparison.
- The suffix has at most `suffix` tokens, fewer if the text ends. The number of tokens is stored beside each score: many models
  can guess the second of two tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.errors import DataError
from byheart.core.evidence import SuffixSpans

if TYPE_CHECKING:
    from byheart.lm.tokens import Tokens

PASSES = 0.0
ADVERSARY = "the prefix of each text"
DEFAULT_PREFIX_TOKENS = 50
"""Tokens of a prefix if `prefix` is not set, in a text with at least twice as many tokens."""


def prefix_suffix_split(
    tokens: Tokens, *, prefix: Annotated[int, Ge(1)] | None = None, suffix: Annotated[int, Ge(1)] = 50
) -> SuffixSpans:
    """Positions (tokens) at which each audited text's prefix ends, and at which its suffix ends.

    Raises `DataError` for a `prefix` that is as long as a text.
    """
    lengths = tokens.text_lengths  # an end token is no part of the text that is extracted
    has_prompt = np.array([bool(p) for p in tokens.texts.prompts], dtype=np.bool_)
    unprompted_begin = (
        np.minimum(DEFAULT_PREFIX_TOKENS, lengths // 2) if prefix is None else np.full(len(tokens), prefix)
    )
    begin = np.where(has_prompt, tokens.first, unprompted_begin)
    is_short = begin >= lengths
    if is_short.any():
        i = int(np.argmax(is_short))
        raise DataError(
            f"observations prefix_suffix_split: prefix = {prefix}, but {int(is_short.sum())} of {len(tokens)} texts have no token after it "
            f"({tokens.texts.ids[i]!r} has {lengths[i]}). Set prefix to {int(lengths[~has_prompt].min()) - 1} or fewer, "
            "or leave it out for at most half of each text."
        )
    return SuffixSpans(begin=begin, end=np.minimum(begin + suffix, lengths))
