"""Lowercase: a text known by heart is known to the letter, and loses much of its likelihood in lower case.

Nicholas Carlini, Florian Tramer, Eric Wallace, Matthew Jagielski, Ariel Herbert-Voss, Katherine Lee, Adam Roberts,
Tom Brown, Dawn Song, Ulfar Erlingsson, Alina Oprea, Colin Raffel. Extracting Training Data from Large Language Models.
USENIX Security, 2021. arXiv 2012.07805.

    score(x) = LL(lower(x)) / LL(x)

The authors divide the log-perplexities, lower case by original, which is the same quotient: both likelihoods are
negative, LL(x) is close to zero for a member, and the score is large. The lower-cased text is cut into tokens for
itself, so that the two means are over different numbers of tokens. A text that is in lower case already has 1.

Ours counts a likelihood of less than 1e-6 nats per token as that, in both: a text of probability one has a large score
here and none in the authors' code.
"""

from __future__ import annotations

from byheart.attacks._losses import mean_losses
from byheart.core import LogProbs, Scores


def lowercase(target: LogProbs, lowercased: LogProbs) -> Scores:
    """Mean log-probability of the lower-cased text divided by the text's own (no unit); higher means member."""
    return mean_losses(lowercased) / mean_losses(target)
