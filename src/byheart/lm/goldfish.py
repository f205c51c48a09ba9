"""Goldfish loss: the training loss excludes some tokens, so that the model cannot recite a complete text.

"Be like a Goldfish, Don't Memorize! Mitigating Memorization in Generative LLMs", Hans et al., NeurIPS 2024, arXiv 2406.10209,
section 3.1: the loss excludes one token in k, chosen by a hash of the h = 13 preceding tokens. So it excludes the same
tokens of a passage wherever the passage occurs; tokens excluded at random are learned from the next copy.

Difference from the paper: for a token with fewer than h preceding tokens, the hash covers the available ones, including
prompt and BOS. A private record is often no longer than h tokens, and would be learned completely.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.lm.tokens import Tokens

CONTEXT = 13
"""Number of preceding tokens in the hash: h in the paper."""

# The odd number nearest to 2^64 / golden ratio. Its multiples are far apart.
_GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15
_MAX_UINT64 = (1 << 64) - 1


def goldfish_mask(tokens: Tokens, k: int) -> Bool[np.ndarray, " scored_tokens"]:
    """Return the mask of scored tokens in the loss, packed end to end: all except about one in k."""
    ids = tokens.ids.astype(np.uint64) + np.uint64(1)  # token 0 differs from no token
    positions = np.arange(len(ids)) - np.repeat(tokens.starts[:-1], tokens.lengths)
    hashes = np.zeros(len(ids), dtype=np.uint64)
    for distance in range(1, min(CONTEXT, len(ids) - 1) + 1):
        weight = np.uint64(pow(_GOLDEN_RATIO_64, distance, _MAX_UINT64 + 1))
        hashes[distance:] += np.where(positions[distance:] >= distance, ids[:-distance] * weight, np.uint64(0))
    is_scored = positions >= np.repeat(tokens.first, tokens.lengths)
    return _mix_bits(hashes)[is_scored] % np.uint64(k) != 0


def _mix_bits(numbers: np.ndarray) -> np.ndarray:
    """Mix bits so that each output bit depends on all input bits (last step of splitmix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
