"""Probabilistic extraction: how many tries does it take until the model, sampling, writes the rest of a text?

Jamie Hayes, Marika Swanberg, Harsh Chaudhari, Itay Yona, Ilia Shumailov, Milad Nasr, Christopher Choquette-Choo, Katherine
Lee, A. Feder Cooper. Measuring memorization in language models via probabilistic extraction. NAACL, 2025. arXiv 2410.19482.

    x = (prefix, suffix)        p_x = product over the suffix of the probability of drawing its token after those before it
    chance of the suffix in n tries = 1 - (1 - p_x)^n       extracted (it is (n, p)-discoverable) where this is >= p
    score(x) = p_x

The probability of drawing a token is that after temperature, top-k and top-p, which the observation `sampling_logprobs` sets; a
token that these cut off has 0, and no number of tries will do. p_x is known from one pass, so no sample is drawn. With
top_k = 1 it is 1 or 0, and the attack is `discoverable` without writing.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from byheart.core import Chances, Extraction, ragged


def probabilistic(
    sampling_logprobs: Chances, *, n: Annotated[int, Ge(1)] = 100, p: Annotated[float, Interval(gt=0, lt=1)] = 0.5
) -> Extraction:
    """Probability that the model, sampling once, writes the suffix; higher means member.

    Extracted is a text whose suffix is written in `n` tries at least once with a probability of at least `p`.
    """
    once = np.exp(ragged.sums(sampling_logprobs.logp, sampling_logprobs.starts))
    with np.errstate(divide="ignore"):  # what is certain has minus infinity of being missed
        missed = n * np.log1p(-once)
    return Extraction(once, -np.expm1(missed) >= p, ragged.lengths(sampling_logprobs.starts))
