"""Zlib: likelihood against the text's own complexity, so that repetitive texts are not mistaken for members.

Nicholas Carlini, Florian Tramer, Eric Wallace, Matthew Jagielski, Ariel Herbert-Voss, Katherine Lee, Adam Roberts,
Tom Brown, Dawn Song, Ulfar Erlingsson, Alina Oprea, Colin Raffel. Extracting Training Data from Large Language Models.
USENIX Security, 2021. arXiv 2012.07805.

    score(x) = LL(x) / len(zlib.compress(utf8(x)))

Compression is at zlib's default level 6 and the two-byte header and four-byte checksum count, as in the authors' code.
Their code ranks by length / log-perplexity = -length / LL; ours is the quotient that later work reports (Min-K% and
Min-K%++ among them). The two rank alike, because one is minus the inverse of the other and LL is never positive; a text
of probability one (LL = 0) has a score here and none there. The authors compress whatever string they were given; ours
is the scored text only, cut where the model's reading was cut, so that both parts of the quotient speak of one text.

The mean falls once with the length of the text and the compressed length rises with it: short texts get low scores.
`total` divides the sum of the log-probabilities instead, nats per compressed byte, which hardly depends on length.
"""

from __future__ import annotations

import zlib

import numpy as np

from byheart.core import LogProbs, Scores, Texts, ragged

ZLIB_LEVEL = 6  # what level -1, zlib's default, has always meant; spelled out because the score depends on it


def zlib_ratio(target: LogProbs, texts: Texts, *, total: bool = False) -> Scores:
    """Mean log-probability (nats per token) divided by the compressed text's bytes; higher means member.

    With `total`, the sum of the log-probabilities (nats) in place of their mean.
    """
    # surrogatepass: data from the web holds lone surrogates, and one of them must not stop every other text's score.
    sizes = [len(zlib.compress(text.encode("utf-8", "surrogatepass"), ZLIB_LEVEL)) for text in texts.scored]
    likelihood = (ragged.sums if total else ragged.means)(target.logp, target.starts)
    return likelihood / np.array(sizes, dtype=np.float64)
