"""Min-K%: a text that was never trained on holds a few tokens that surprise the model; look at those only.

Weijia Shi, Anirudh Ajith, Mengzhou Xia, Yangsibo Huang, Daogao Liu, Terra Blevins, Danqi Chen, Luke Zettlemoyer.
Detecting Pretraining Data from Large Language Models. ICLR, 2024. arXiv 2310.16789.

    score(x) = mean of the max(1, floor(k N)) smallest ln p(x_t | x_<t)

The authors' code returns minus this mean, keeps int(k N) tokens, and has no answer (the mean of nothing) where k N < 1;
ours keeps at least one token, so that a short text is scored like every other. k = 0.2 is the authors' choice.
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
