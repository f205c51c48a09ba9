"""Zlib: divides the text's likelihood by its compressed size, so that repetitive texts are not mistaken for members.

Nicholas Carlini, Florian Tramer, Eric Wallace, Matthew Jagielski, Ariel Herbert-Voss, Katherine Lee, Adam Roberts,
Tom Brown, Dawn Song, Ulfar Erlingsson, Alina Oprea, Colin Raffel. Extracting Training Data from Large Language Models.
USENIX Security, 2021. arXiv 2012.07805.

    score(x) = LL(x) / len(zlib.compress(utf8(x)))

LL is the mean log-probability per token, utf8 the UTF-8 bytes of the text. As in the authors' code, compression uses zlib's
default level 6, and the two-byte header and four-byte checksum count. LL does not grow with the length of the text but the
compressed length does, so short texts get low scores. `total` divides the sum of the log-probabilities instead (nats per
compressed byte), which hardly depends on length.

Departures from the authors' code:

- Theirs ranks by length / log-perplexity = -length / LL. Ours is the ratio that later work reports (Min-K% and Min-K%++ among
  them). Both rank alike: one is minus the inverse of the other, and LL is never positive. A text of probability one (LL = 0)
  has a score only here.
- Theirs compresses the whole string. Ours compresses only the scored text, truncated where the model's input was.
"""

from __future__ import annotations

import zlib

import numpy as np

from byheart.core import LogProbs, Scores, Texts, ragged

ZLIB_LEVEL = 6  # zlib's default (-1) is level 6; explicit because the score depends on it


def zlib_ratio(target: LogProbs, texts: Texts, *, total: bool = False) -> Scores:
    """Mean log-probability (nats per token) divided by the text's compressed size (bytes); higher means member.

    With `total`, the sum of the log-probabilities (nats) replaces their mean.
    """
    # surrogatepass: web data contains lone surrogates, and one of them must not prevent the scores of all texts.
    sizes = [len(zlib.compress(text.encode("utf-8", "surrogatepass"), ZLIB_LEVEL)) for text in texts.scored]
    likelihood = (ragged.sums if total else ragged.means)(target.logp, target.starts)
    return likelihood / np.array(sizes, dtype=np.float64)
