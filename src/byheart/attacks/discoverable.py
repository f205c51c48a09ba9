"""Discoverable extraction: handed the beginning of a text, does the model write the rest word for word?

Nicholas Carlini, Daphne Ippolito, Matthew Jagielski, Katherine Lee, Florian Tramèr, Chiyuan Zhang. Quantifying
Memorization Across Neural Language Models. ICLR, 2023. arXiv 2202.07646.

    x = (prefix, suffix)        y: what the model writes after the prefix, always its likeliest token
    extracted(x) where y = suffix, token for token
    score(x) = tokens of the suffix that y has before its first wrong one / tokens of the suffix

Prefix and suffix are the observation `prefix_suffix_split`, 50 tokens each and fewer in shorter texts; of a prompt and a completion
the prompt is the prefix. A model that stops by itself has written less than the suffix. The rate among members says
little alone, since a suffix may be what anybody would write: non-members and the untuned model go through the same, and what
counts is the excess over both.
"""

from __future__ import annotations

import numpy as np

from byheart.core import Extraction, Recitation


def discoverable(greedy_continuation: Recitation) -> Extraction:
    """Share (0 to 1) of the suffix that the model writes before its first wrong token; higher means member.

    Extracted is a text of which all of the suffix is written.
    """
    lengths = np.diff(greedy_continuation.starts)
    written = np.split(greedy_continuation.written, greedy_continuation.written_starts[1:-1])
    true = np.split(greedy_continuation.true, greedy_continuation.starts[1:-1])
    right = np.array([_correct_prefix_length(y, suffix) for y, suffix in zip(written, true, strict=True)])
    return Extraction(right / lengths, right == lengths, lengths)


def _correct_prefix_length(continuation: np.ndarray, suffix: np.ndarray) -> int:
    """Return how many tokens are as they should be before the first that is not."""
    count = min(len(continuation), len(suffix))
    wrong = np.flatnonzero(continuation[:count] != suffix[:count])
    return int(wrong[0]) if len(wrong) else count
