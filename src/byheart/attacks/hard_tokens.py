"""Hard tokens (HT-MIA): at how many of the text's most difficult tokens fine-tuning raised the probability.

Md Tasnim Jawad, Mingyan Xiao, Yanzhao Wu. What Hard Tokens Reveal: Exploiting Low-confidence Tokens for Membership Inference
Attacks against Large Language Models. 2026. arXiv 2601.20885.

    H = {t : p_target(x_t | x_<t) is among the share k of the text's lowest}        the hard tokens
    score(x) = 1/|H| sum over H of [p_target(x_t | x_<t) > p_base(x_t | x_<t)]

A model that generalizes improves at easy tokens, in members and non-members alike. At tokens that stay difficult it improves only
in texts that it was trained on. A count of improvements, unlike their mean, does not depend on a few large ones.

We could read the paper's abstract and a public re-implementation of the score (a privacy challenge's feature set, written after
the paper), but not the paper's own equations. k is a setting: the re-implementation computes 10, 20, 30, 40 and 50 %. With
`hard_for: base` the hard tokens are the base model's, which no fine-tuning changes. A text without an improvement scores 0, also
at epoch 0, where the two models are the same. Short texts have few hard tokens, and tie often.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from byheart.core import LogProbs, Scores, ragged

VARIANT = "follows the abstract and a public re-implementation; the share of hard tokens is our choice"


def hard_tokens(
    target: LogProbs,
    base: LogProbs,
    *,
    k: Annotated[float, Interval(gt=0, le=1)] = 0.2,
    hard_for: Literal["target", "base"] = "target",
) -> Scores:
    """Share (0 to 1) of the text's hard tokens that are likelier than under the base model; higher means member.

    Hard tokens are the share `k` of the text's tokens that are least likely under the model `hard_for`, at least one. Raises
    `DataError` if the two models did not score the same tokens.
    """
    ragged.check_same_tokens("hard_tokens", target.starts, base.starts)
    is_hard = ragged.smallest_mask((target if hard_for == "target" else base).logp, target.starts, share=k)
    improved = (is_hard & (target.logp > base.logp)).astype(np.float64)
    return ragged.sums(improved, target.starts) / ragged.sums(is_hard.astype(np.float64), target.starts)
