"""Probabilistic extraction: computes the probability that the model, sampling from a text's prefix, generates its suffix.

Jamie Hayes, Marika Swanberg, Harsh Chaudhari, Itay Yona, Ilia Shumailov, Milad Nasr, Christopher Choquette-Choo, Katherine
Lee, A. Feder Cooper. Measuring memorization in language models via probabilistic extraction. NAACL, 2025. arXiv 2410.19482.

    x = (prefix, suffix)        p_x = product over the suffix of each token's sampling probability after the preceding tokens
    probability of the suffix in n samples = 1 - (1 - p_x)^n     extracted ((n, p)-discoverable) if this is >= p
    score(x) = p_x

The sampling probability of a token is that after temperature, top-k and top-p, which the observation `sampling_logprobs` sets.
A token outside top-k or top-p has probability 0 and is never sampled. One forward pass gives p_x; no sample is drawn. With
top_k = 1, p_x is 1 or 0 and the attack equals `discoverable` without generation.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from byheart.core import Extraction, SamplingLogProbs, ragged


def probabilistic(
    sampling_logprobs: SamplingLogProbs,
    *,
    n: Annotated[int, Ge(1)] = 100,
    p: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
) -> Extraction:
    """Probability (0 to 1) that one sample from the model is the suffix; higher means member.

    A text is extracted if the probability that at least one of `n` samples is the suffix is at least `p`.
    """
    p_suffix = np.exp(ragged.sums(sampling_logprobs.logp, sampling_logprobs.starts))
    with np.errstate(divide="ignore"):  # for a probability of 1, the log-probability of a miss is minus infinity
        log_missed = n * np.log1p(-p_suffix)
    return Extraction(p_suffix, -np.expm1(log_missed) >= p, ragged.lengths(sampling_logprobs.starts))
