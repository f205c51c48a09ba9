"""InfoRMIA without the term over the vocabulary: how much likelier the text is under the target than its prior from shadow models.

Jiashu Tao, Reza Shokri. (Token-Level) InfoRMIA: Stronger Membership Inference and Memorization Assessment for LLMs. 2025;
as Information-Theoretic Membership Inference for Granular Quantification of Memorization, ICLR, 2026. arXiv 2510.05582.

    score(x) = ln p(x | target) / p(x) + KL(p(z) || p(z | target)),  z of a population
    text:   p(x) = exp(mean of ln p(x_t | x_<t))
    token:  the same of every p(x_t | x_<t), and the mean of them is the text's score
    p(x) from shadows as in `rmia`: online (mean inside + mean outside) / 2, offline ((1 + a) p_out + (1 - a)) / 2

"Inside" are the shadow models trained on x, "outside" the others; p_out is the mean likelihood outside, and a is a setting.
`rmia` counts population texts; this measures a difference, so texts do not tie for any size of the population. With unit text,
the second term is one number for the whole model. It does not change the ranking and is omitted, so no population is needed.

With unit token, the population is the vocabulary at each position, and the second term does change the ranking:

    s_t = ln p(x_t | x_<t, target) / p(x_t | x_<t) + sum_v p(v | x_<t) ln p(v | x_<t) / p(v | x_<t, target)

Departures from the paper (we know of no code by its authors; the formula follows several accounts of the paper):

- Our token score is the first term, which the authors call memorization, without the second, which they call generalization.
  The second term does not depend on the true token: it is large wherever target and shadow models predict different words, even
  in a text that no model was trained on. It needs the full next-token distribution of every model at every position: storage
  times the vocabulary size, or all models in memory at once.
- A public re-implementation takes both terms at a temperature of 2 and reverses the sign of their sum, because the sum was
  lower for members of pre-trained models. Memorization determines the direction of the first term, not of the sum.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from byheart.attacks._shadow_models import check_shadows, log_prior, text_logprobs
from byheart.core import LogProbs, Scores, Shadows, ragged

VARIANT = "for tokens the first term only; the second, over the vocabulary, is omitted"


def info_rmia(
    target: LogProbs,
    shadows: Shadows,
    *,
    unit: Literal["text", "token"] = "token",
    mode: Literal["online", "offline"] = "online",
    a: Annotated[float, Interval(ge=0, le=1)] = 0.3,
) -> Scores:
    """Log-likelihood (nats per token) that the target gained over the prior from shadow models; higher means member.

    `a` is used offline only. Raises `DataError` if the shadow models scored other tokens, and for a text that all shadow models or
    no shadow model was trained on.
    """
    check_shadows("info_rmia", target, shadows, min_shadows=1)
    online = mode == "online"
    if unit == "text":
        prior = log_prior(text_logprobs(shadows.logp, shadows.starts), shadows.inside.T, online=online, a=a)
        return ragged.means(target.logp, target.starts) - prior
    inside = np.repeat(shadows.inside, ragged.lengths(target.starts), axis=1)
    token_logprobs = np.ascontiguousarray(shadows.logp.T, dtype=np.float64)
    gain = target.logp.astype(np.float64) - log_prior(token_logprobs, inside.T, online=online, a=a)
    return ragged.means(gain, target.starts)
