"""InfoRMIA: how much more does the target know of a text than was to be expected before it was tuned?

Jiashu Tao, Reza Shokri. (Token-Level) InfoRMIA: Stronger Membership Inference and Memorization Assessment for LLMs. 2025;
as Information-Theoretic Membership Inference for Granular Quantification of Memorization, ICLR, 2026. arXiv 2510.05582.

    score(x) = ln p(x | target) / p(x) + KL(p(z) || p(z | target)),  z of a population
    text:   p(x) = exp(mean of ln p(x_t | x_<t))
    token:  the same of every p(x_t | x_<t), and the mean of them is the text's score
    p(x) from shadows as in `rmia`: online (mean inside + mean outside) / 2, offline ((1 + a) p_out + (1 - a)) / 2

Where `rmia` counts, this measures: no two texts tie, whatever the size of the population. Of texts, the second term is one
number for the whole model; it changes no order and is left out here, so no population is asked for. Of tokens, the
authors' population is the vocabulary at each place: the second term is then the divergence of two whole next-token
distributions, the mean shadow's and the target's, and evidence here holds the true token's probability alone. So our
token score is their first term, what they call memorisation, without their second, which they call generalisation.

No code of the authors' was found to compare with; the formula is as several accounts of the paper give it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from byheart import ragged
from byheart.attacks._shadowed import log_prior, logliks, refuse
from byheart.kinds import Shadows
from byheart.types import LogProbs, Scores


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
    refuse("info_rmia", target, shadows, least=1)
    online = mode == "online"
    if unit == "text":
        prior = log_prior(logliks(shadows.logp, shadows.starts), shadows.inside.T, online=online, a=a)
        return ragged.means(target.logp, target.starts) - prior
    inside = np.repeat(shadows.inside, ragged.lengths(target.starts), axis=1)
    tokens = np.ascontiguousarray(shadows.logp.T, dtype=np.float64)
    gained = target.logp.astype(np.float64) - log_prior(tokens, inside.T, online=online, a=a)
    return ragged.means(gained, target.starts)
