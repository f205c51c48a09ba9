"""SURP: scores the tokens where the model was confident and wrong; a training text contains fewer such surprises.

Anqi Zhang, Chaofeng Wu. Adaptive Pre-training Data Detection for Large Language Models via Surprising Tokens. 2024.
arXiv 2407.21248.

    S = {t : H_t < h, x_t among the share k of the text's tokens of lowest probability},   H_t = -sum_v p_v ln p_v
    score(x) = 1/|S| sum over S of ln p(x_t | x_<t)

H_t is the entropy of the next-token distribution (p_v: probability of token v), h the setting `max_entropy`. This is `min_k`
without the tokens at which the model was uncertain. The share is counted as in `min_k`: at least one token, and the earlier one
of equally likely tokens. Both thresholds should be chosen for each model; the defaults are those of a public
re-implementation, the least likely 20 % and 2 nats.

Departure from that re-implementation: it scores a text with an empty S as -100. Zero would be wrong too: a memorized text has
low entropy throughout and a full S, while S is empty if the model is uncertain at all unlikely tokens. Ours drops the entropy
condition for such a text and scores it by `min_k`, on the same scale.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt, Interval

from byheart.core import Scores, TokenStats, ragged

VARIANT = "a text without tokens of low entropy and low probability is scored by `min_k`"


def surp(
    target: TokenStats,
    *,
    k: Annotated[float, Interval(gt=0, le=1)] = 0.2,
    max_entropy: Annotated[float, Gt(0)] = 2.0,
) -> Scores:
    """Mean log-probability (nats) of the tokens where the model was confident and wrong; higher means member.

    Confident: entropy below `max_entropy` (nats). Wrong: among the share `k` of the text's least likely tokens. A text without such
    a token is scored by all of its least likely tokens, as by `min_k`.
    """
    is_unlikely = ragged.smallest_mask(target.logp, target.starts, share=k)
    is_surprising = is_unlikely & (target.entropy < max_entropy)
    has_no_surprise = ~np.logical_or.reduceat(is_surprising, target.starts[:-1])
    is_scored = np.where(np.repeat(has_no_surprise, ragged.lengths(target.starts)), is_unlikely, is_surprising)
    counts = np.add.reduceat(is_scored, target.starts[:-1], dtype=np.intp)
    return ragged.means(target.logp[is_scored], np.concatenate(([0], np.cumsum(counts))))
