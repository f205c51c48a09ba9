"""Goldfish loss: a part of the tokens is left out of the training loss, so that no text can be recited whole.

"Be like a Goldfish, Don't Memorize! Mitigating Memorization in Generative LLMs", Hans et al., NeurIPS 2024, arXiv 2406.10209,
section 3.1: one token in k is left out, chosen by a hash of the h tokens before it, h = 13, so that the same passage loses
the same tokens wherever it stands: what is left out at random is learnt the next time.

Departs from the paper: tokens with fewer than h before them are chosen by those that there are, prompt and BOS included.
A private record is often no longer than h tokens, and would be learnt whole.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.lm.tokens import Tokens

CONTEXT = 13
"""Tokens before a token that decide whether it counts: h, the paper's."""

# The odd number nearest to 2^64 over the golden ratio, whose multiples lie far apart.
_GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15
_MAX_UINT64 = (1 << 64) - 1


def goldfish_mask(tokens: Tokens, k: int) -> Bool[np.ndarray, " scored_tokens"]:
    """Return which scored tokens count in the loss, packed end to end: all but about one in k, by what stands before each."""
    ids = tokens.ids.astype(np.uint64) + np.uint64(1)  # a token 0 is not the same as no token
    place = np.arange(len(ids)) - np.repeat(tokens.starts[:-1], tokens.lengths)
    mixed = np.zeros(len(ids), dtype=np.uint64)
    for back in range(1, min(CONTEXT, len(ids) - 1) + 1):
        weight = np.uint64(pow(_GOLDEN_RATIO_64, back, _MAX_UINT64 + 1))
        mixed[back:] += np.where(place[back:] >= back, ids[:-back] * weight, np.uint64(0))
    scored = place >= np.repeat(tokens.first, tokens.lengths)
    return _mix_bits(mixed)[scored] % np.uint64(k) != 0


def _mix_bits(numbers: np.ndarray) -> np.ndarray:
    """Return numbers whose every bit hangs on every bit of the given ones (splitmix64's last step)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
