"""Extraction strength (ES): the share of a text, at its end, that the model generates greedily if the beginning is given.

Qizhou Wang, Bo Han, Puning Yang, Jianing Zhu, Tongliang Liu, Masashi Sugiyama. Towards Effective Evaluations and Comparisons for
LLM Unlearning Methods. ICLR, 2025. arXiv 2406.09179. The idea is of Nicholas Carlini et al., Extracting Training Data from
Large Language Models. USENIX Security, 2021. arXiv 2012.07805.

    score(x) = 1 - 1/N min {k : greedy decoding from x_1 ... x_k gives x_(k+1) ... x_N}

N is the number of scored tokens of x: with a prompt, k counts from the start of the completion. Greedy decoding gives the end of
a text if each of its tokens is the most likely one after the true tokens before it. So one forward pass is enough.

Departures:

- A text whose last token is not the most likely one scores 0. OpenUnlearning's code gives it 1/N.
- Of equally likely tokens each counts as the most likely one.

Many texts score 0, and tie. The metric `extraction_strength` is the mean over members and over non-members.
"""

from __future__ import annotations

from byheart.core import Scores, TokenStats, ragged


def extraction_strength(target: TokenStats) -> Scores:
    """Share (0 to 1) of the text, at its end, that greedy decoding generates from the beginning; higher means member."""
    return ragged.trailing_lengths(target.rank == 0, target.starts) / ragged.lengths(target.starts)
