"""Lowercase: compares the text's likelihood with that of its lower-case version; a memorized text loses more.

Nicholas Carlini, Florian Tramer, Eric Wallace, Matthew Jagielski, Ariel Herbert-Voss, Katherine Lee, Adam Roberts,
Tom Brown, Dawn Song, Ulfar Erlingsson, Alina Oprea, Colin Raffel. Extracting Training Data from Large Language Models.
USENIX Security, 2021. arXiv 2012.07805.

    score(x) = LL(lower(x)) / LL(x)

LL is the mean log-probability per token. The authors divide the log-perplexities, lower case by original, which is the same
ratio. Both are negative, and LL(x) of a member is close to zero, so its score is large. The lower-case text is tokenized
separately, so the two means are over different numbers of tokens. A text without upper case has a score of 1.

Departure from the authors' code: a mean loss below 1e-6 nats per token counts as 1e-6 in both terms. A text of probability
one then has a large score; in their code it has none.
"""

from __future__ import annotations

from byheart.attacks._losses import mean_losses
from byheart.core import LogProbs, Scores


def lowercase(target: LogProbs, lowercased: LogProbs) -> Scores:
    """Mean log-probability of the lower-case text divided by that of the text (no unit); higher means member."""
    return mean_losses(lowercased) / mean_losses(target)
