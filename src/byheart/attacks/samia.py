"""SaMIA: begin a text and let the model go on: of a text it was trained on, it writes more of the same words.

Masahiro Kaneko, Youmi Ma, Yuki Wata, Naoaki Okazaki. Sampling-based Pseudo-Likelihood for Membership Inference Attacks.
2024. arXiv 2404.11262.

    x = (first half, rest)        y_1, ..., y_m: what the model writes after the first half, sampled
    ROUGE-1(y, rest) = words of rest that y holds too, each as often as both do / words of rest
    score(x) = 1/m sum_j ROUGE-1(y_j, rest)

A word is what stands between white space, compared to the letter, as in the authors' code; ten samples at temperature 1
among the 50 likeliest tokens, as theirs. `compressed` is their SaMIA*zlib: each summand times the length of the
compressed continuation, since a model that repeats itself recalls words by chance.

The authors let the model write up to 1024 tokens and count all of it, so that a long continuation recalls more words
than a short one; ours goes on for as many tokens as the rest has. They take the beginning at half of a text's own words
and the rest from half of a nominal length on, 32 to 256 words, which a shorter text does not have: its rest is empty or
cut short, and a word more or less in the beginning shifts what is compared. Ours are the two halves of one text, in
tokens. Where there are no words to recall the score is 0, as in theirs.
"""

from __future__ import annotations

import zlib
from collections import Counter

import numpy as np

from byheart.core import Generations, Scores

ZLIB_LEVEL = 6  # what level -1, zlib's default, has always meant; spelled out because the score depends on it


def samia(continuations: Generations, *, compressed: bool = False) -> Scores:
    """Share (0 to 1) of the text's second half that the model's continuations of the first recall; higher means member.

    By words, mean over continuations. With `compressed`, each share times the continuation's compressed bytes.
    """
    starts, written = continuations.starts, continuations.written
    return np.array(
        [
            np.mean(
                [
                    _word_recall(w, rest) * (_compressed_bytes(w) if compressed else 1)
                    for w in written[starts[i] : starts[i + 1]]
                ]
            )
            for i, rest in enumerate(continuations.rest)
        ],
        dtype=np.float64,
    )


def _word_recall(continuation: str, reference: str) -> float:
    wanted = Counter(reference.split())
    return (wanted & Counter(continuation.split())).total() / max(wanted.total(), 1)


def _compressed_bytes(continuation: str) -> int:
    return len(zlib.compress(continuation.encode("utf-8", "surrogatepass"), ZLIB_LEVEL))
