"""Min-K%++: compares each token's log-probability with the model's whole next-token distribution, and scores the lowest tokens.

Jingyang Zhang, Jingwei Sun, Eric Yeats, Yang Ouyang, Martin Kuo, Jianyi Zhang, Hao Frank Yang, Hai Li. Min-K%++:
Improved Baseline for Detecting Pre-Training Data from Large Language Models. ICLR, 2025. arXiv 2404.02936.

    mu_t = sum_v p_v ln p_v        sigma_t^2 = sum_v p_v (ln p_v - mu_t)^2
    z_t = (ln p(x_t | x_<t) - mu_t) / sigma_t
    score(x) = mean of the max(1, floor(k N)) smallest z_t

p_v is the probability of the vocabulary's token v at position t, N the number of tokens of x, and k the share of tokens that
count. Training texts are at local maxima of the likelihood, so their tokens are likelier than the alternatives.

Departures from the authors' code:

- Theirs computes the variance as E[(ln p)^2] - mu^2, which cancels to zero or below where the model is nearly certain, and
  divides by it without a check. Ours sums squared deviations from the mean, and sigma is at least 1e-6.
- Ours uses at least one token where theirs uses none, as in `min_k`.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Interval

from byheart.core import Scores, TokenStats, ragged

SMALLEST_STD = 1e-6  # nats; below it the model is certain and the quotient would be noise


def min_k_plus_plus(target: TokenStats, *, k: Annotated[float, Interval(gt=0, le=1)] = 0.2) -> Scores:
    """Mean z-score (standard deviations) of the share k of tokens with the lowest z-scores; higher means member.

    A z-score compares a token's log-probability with the next-token distribution at its position. A text of fewer than 1/k tokens
    is scored by one token.
    """
    surplus = target.logp.astype(np.float64) - target.mean
    z_scores = surplus / np.maximum(target.std, SMALLEST_STD).astype(np.float64)
    return ragged.smallest_means(z_scores, target.starts, share=k)
