"""Discoverable extraction: tests whether the model, given a text's prefix, generates its suffix verbatim.

Nicholas Carlini, Daphne Ippolito, Matthew Jagielski, Katherine Lee, Florian Tramèr, Chiyuan Zhang. Quantifying
Memorization Across Neural Language Models. ICLR, 2023. arXiv 2202.07646.

    x = (prefix, suffix)        y: the model's greedy continuation of the prefix
    extracted(x) if y = suffix, token for token
    score(x) = tokens of the suffix that y matches before its first wrong token / tokens of the suffix

Prefix and suffix come from the observation `prefix_suffix_split`: 50 tokens each, fewer in shorter texts; for a prompt and a
completion, the prompt is the prefix. A continuation may be shorter than the suffix if the model stops early. The rate among
members alone is weak evidence, because a model may generate a suffix without memorization. Compare it with the rate among
non-members and the rate of the base model.
"""

from __future__ import annotations

import numpy as np

from byheart.core import Extraction, GreedyContinuation


def discoverable(greedy_continuation: GreedyContinuation) -> Extraction:
    """Share (0 to 1) of the suffix that the model generates before its first wrong token; higher means member.

    A text is extracted if the model generates the whole suffix.
    """
    lengths = np.diff(greedy_continuation.starts)
    continuations = np.split(greedy_continuation.written, greedy_continuation.written_starts[1:-1])
    suffixes = np.split(greedy_continuation.true, greedy_continuation.starts[1:-1])
    correct = np.array(
        [
            _correct_prefix_length(continuation, suffix)
            for continuation, suffix in zip(continuations, suffixes, strict=True)
        ]
    )
    return Extraction(correct / lengths, correct == lengths, lengths)


def _correct_prefix_length(continuation: np.ndarray, suffix: np.ndarray) -> int:
    """Return the number of correct tokens before the first wrong token."""
    count = min(len(continuation), len(suffix))
    wrong_positions = np.flatnonzero(continuation[:count] != suffix[:count])
    return int(wrong_positions[0]) if len(wrong_positions) else count
