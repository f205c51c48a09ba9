"""SURP: where the model was sure and wrong, how wrong was it? A text that was trained on holds fewer such surprises.

Anqi Zhang, Chaofeng Wu. Adaptive Pre-training Data Detection for Large Language Models via Surprising Tokens. 2024.
arXiv 2407.21248.

    S = {t : H_t < h, x_t among the share k of the text's tokens of lowest probability},   H_t = -sum_v p_v ln p_v
    score(x) = 1/|S| sum over S of ln p(x_t | x_<t)

It is `min_k` without the tokens whose surprise says little, because the model expected nothing there. The share is
counted as in `min_k`, at least one token (of equally likely ones the earlier). Both thresholds are to be chosen for a
model; the defaults are those of a public re-implementation, the least likely 20 % and 2 nats.

Where S is empty the mean of nothing is no number; that re-implementation puts -100 in its place. Zero, "nothing
surprised the model", would be wrong too: a memorised text has low entropy throughout and a full S, and S is empty in
texts at whose unlikely tokens the model is at a loss. Ours drops the condition on entropy for such a text and scores
it by `min_k`, on the same scale.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt, Interval

from byheart.core import Scores, TokenStats, ragged


def surp(
    target: TokenStats,
    *,
    k: Annotated[float, Interval(gt=0, le=1)] = 0.2,
    max_entropy: Annotated[float, Gt(0)] = 2.0,
) -> Scores:
    """Mean log-probability (nats) of the tokens where the model was sure and wrong; higher means member.

    Sure: entropy below `max_entropy` (nats). Wrong: among the share `k` of the text's least likely tokens. A text without
    such a token is scored by all of its least likely ones, as by `min_k`.
    """
    unlikely = ragged.smallest_mask(target.logp, target.starts, share=k)
    surprising = unlikely & (target.entropy < max_entropy)
    without = ~np.logical_or.reduceat(surprising, target.starts[:-1])
    chosen = np.where(np.repeat(without, ragged.lengths(target.starts)), unlikely, surprising)
    counts = np.add.reduceat(chosen, target.starts[:-1], dtype=np.intp)
    return ragged.means(target.logp[chosen], np.concatenate(([0], np.cumsum(counts))))
