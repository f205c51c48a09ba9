"""Min-K%: scores a text by its least likely tokens, because a text outside the training data contains a few surprising tokens.

Weijia Shi, Anirudh Ajith, Mengzhou Xia, Yangsibo Huang, Daogao Liu, Terra Blevins, Danqi Chen, Luke Zettlemoyer.
Detecting Pretraining Data from Large Language Models. ICLR, 2024. arXiv 2310.16789.

    score(x) = mean of the max(1, floor(k N)) smallest ln p(x_t | x_<t)

N is the number of tokens of x, and k the share of tokens that count. k = 0.2 is the authors' choice.

Departures from the authors' code:

- Theirs returns minus this mean.
- Theirs uses int(k N) tokens and returns no number if k N < 1. Ours uses at least one token, so that short texts have a score.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Interval

from byheart.core import LogProbs, Scores, ragged


def min_k(target: LogProbs, *, k: Annotated[float, Interval(gt=0, le=1)] = 0.2) -> Scores:
    """Mean log-probability (nats) of the share k of tokens that are least likely; higher means member.

    With k = 1 this is `loss`. A text of fewer than 1/k tokens is scored by its least likely token.
    """
    return ragged.smallest_means(target.logp, target.starts, share=k)
