"""Min-K%++: is the true token likelier than the model's other choices at that place? Trained text sits at local maxima.

Jingyang Zhang, Jingwei Sun, Eric Yeats, Yang Ouyang, Martin Kuo, Jianyi Zhang, Hao Frank Yang, Hai Li. Min-K%++:
Improved Baseline for Detecting Pre-Training Data from Large Language Models. ICLR, 2025. arXiv 2404.02936.

    mu_t = sum_v p_v ln p_v        sigma_t^2 = sum_v p_v (ln p_v - mu_t)^2
    z_t = (ln p(x_t | x_<t) - mu_t) / sigma_t
    score(x) = mean of the max(1, floor(k N)) smallest z_t

The authors' code computes the variance as E[(ln p)^2] - mu^2, which cancels to zero or below where the model is nearly
certain, and divides by it unguarded; ours comes from centred sums and sigma is at least 1e-6. As in `min_k`, at least
one token is kept where theirs keeps none.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Interval

from byheart.core import Scores, TokenStats, ragged

SMALLEST_STD = 1e-6  # nats; below it the model has made up its mind and the quotient would be noise


def min_k_plus_plus(target: TokenStats, *, k: Annotated[float, Interval(gt=0, le=1)] = 0.2) -> Scores:
    """Mean z-score (standard deviations) of the share k of tokens lowest among the vocabulary; higher means member.

    Lowest against what the model expected at their place. A text of fewer than 1/k tokens is scored by one token.
    """
    surplus = target.logp.astype(np.float64) - target.mean
    standardised = surplus / np.maximum(target.std, SMALLEST_STD).astype(np.float64)
    return ragged.smallest_means(standardised, target.starts, share=k)
