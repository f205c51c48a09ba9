"""InfoRMIA: how much more does the target know of a text than was to be expected before it was tuned?

Jiashu Tao, Reza Shokri. (Token-Level) InfoRMIA: Stronger Membership Inference and Memorization Assessment for LLMs. 2025;
as Information-Theoretic Membership Inference for Granular Quantification of Memorization, ICLR, 2026. arXiv 2510.05582.

    score(x) = ln p(x | target) / p(x) + KL(p(z) || p(z | target)),  z of a population
    text:   p(x) = exp(mean of ln p(x_t | x_<t))
    token:  the same of every p(x_t | x_<t), and the mean of them is the text's score
    p(x) from shadows as in `rmia`: online (mean inside + mean outside) / 2, offline ((1 + a) p_out + (1 - a)) / 2

Where `rmia` counts, this measures: no two texts tie, whatever the size of the population. Of texts, the second term is one
number for the whole model; it changes no order and is left out here, so no population is asked for.

Of tokens, the population is the vocabulary at each place, and the second term does change the order:

    s_t = ln p(x_t | x_<t, target) / p(x_t | x_<t) + sum_v p(v | x_<t) ln p(v | x_<t) / p(v | x_<t, target)

It does not ask which token is the true one: it is large wherever target and shadows expect different words, in a text
that nobody was tuned on too. It needs every model's whole next-token distribution at every place, the vocabulary's size
times what is kept of shadows here, or all of them in memory at once. Our token score is the first term alone, what the
authors call memorisation, without the second, which they call generalisation.

No code of the authors' was found; the formula is as several accounts of the paper give it. A public re-implementation
takes both terms at a temperature of 2 and then turns the sign of their sum around, having found it lower for members of
pre-trained models: with the second term in it the sum's direction is not given by what memory does, with the first it is.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from byheart.attacks._shadow_models import check_shadows, log_prior, text_logprobs
from byheart.core import LogProbs, Scores, Shadows, ragged


def info_rmia(
    target: LogProbs,
    shadows: Shadows,
    *,
    unit: Literal["text", "token"] = "token",
    mode: Literal["online", "offline"] = "online",
    a: Annotated[float, Interval(ge=0, le=1)] = 0.3,
) -> Scores:
    """Log-likelihood (nats a token) that the target gained over the shadows' expectation; higher means member.

    `a` is used offline only. Raises `DataError` where shadows read other tokens, and for a text that is inside all
    shadows or none.
    """
    check_shadows("info_rmia", target, shadows, min_shadows=1)
    online = mode == "online"
    if unit == "text":
        prior = log_prior(text_logprobs(shadows.logp, shadows.starts), shadows.inside.T, online=online, a=a)
        return ragged.means(target.logp, target.starts) - prior
    inside = np.repeat(shadows.inside, ragged.lengths(target.starts), axis=1)
    tokens = np.ascontiguousarray(shadows.logp.T, dtype=np.float64)
    gained = target.logp.astype(np.float64) - log_prior(tokens, inside.T, online=online, a=a)
    return ragged.means(gained, target.starts)
