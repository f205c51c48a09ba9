"""SaMIA: samples continuations of the text's first half and measures how many words of the second half they contain.

Masahiro Kaneko, Youmi Ma, Yuki Wata, Naoaki Okazaki. Sampling-based Pseudo-Likelihood for Membership Inference Attacks.
2024. arXiv 2404.11262.

    x = (first half, rest)        y_1, ..., y_m: sampled continuations of the first half
    ROUGE-1(y, rest) = words of rest that y also contains, with clipped counts / words of rest
    score(x) = 1/m sum_j ROUGE-1(y_j, rest)

As in the authors' code, words are separated by white space and compared exactly, and there are ten samples at temperature 1
from the 50 most likely tokens. `compressed` is their SaMIA*zlib: each term is multiplied by the length of the compressed
continuation, because a repetitive continuation recalls words by chance. A rest without words scores 0, as in theirs.

Departures from the authors' code:

- They generate up to 1024 tokens and count all of them, so a long continuation recalls more words. Ours generates as many tokens
  as the rest has.
- Their first half is half of the text's own words, but their rest begins at half of a nominal length, 32 to 256 words. For a
  shorter text the rest is empty or truncated, and one word more or less in the first half shifts the comparison. Ours uses the
  two halves of one text, in tokens.
"""

from __future__ import annotations

import zlib
from collections import Counter

import numpy as np

from byheart.core import Generations, Scores

VARIANT = "continuations as long as the second half, in place of up to 1024 tokens"

ZLIB_LEVEL = 6  # zlib's default (-1) is level 6; explicit because the score depends on it


def samia(continuations: Generations, *, compressed: bool = False) -> Scores:
    """Share (0 to 1) of the words of the second half that continuations of the first half recall; higher means member.

    The mean over continuations. With `compressed`, each share is multiplied by the continuation's compressed bytes.
    """
    starts, texts = continuations.starts, continuations.written
    return np.array(
        [
            np.mean(
                [
                    _word_recall(continuation, rest) * (_compressed_bytes(continuation) if compressed else 1)
                    for continuation in texts[starts[i] : starts[i + 1]]
                ]
            )
            for i, rest in enumerate(continuations.rest)
        ],
        dtype=np.float64,
    )


def _word_recall(continuation: str, reference: str) -> float:
    """Return the share of the reference's words that the continuation contains; 0 for a reference without words."""
    reference_words = Counter(reference.split())
    return (reference_words & Counter(continuation.split())).total() / max(reference_words.total(), 1)


def _compressed_bytes(continuation: str) -> int:
    """Return the zlib-compressed size of a continuation (bytes)."""
    return len(zlib.compress(continuation.encode("utf-8", "surrogatepass"), ZLIB_LEVEL))
