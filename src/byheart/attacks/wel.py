"""WEL-MIA: compares each token's gain over the base model with tokens of equal difficulty, and weights difficult tokens more.

Changtian Song, Dongdong Zhao, Jianwen Xiang. Not All Tokens Are Equal: Membership Inference Attacks Against Fine-tuned
Language Models. ACSAC, 2024; proceedings doi 10.1109/ACSAC63791.2024.

    r_t = ln p_target(x_t | x_<t) - ln p_base(x_t | x_<t)        d_t = -ln p_target(x_t | x_<t), in ten bins of equal size
    z_t = r_t, normalized to N(0, 1) by its quantiles in the bin of d_t
    w_t = mean d of the bin * (1 - Phi(z_t / 2))
    score(x) = mean of w_t z_t

Phi is the standard normal distribution function. The second factor of w limits the effect of a few large gains. A text of
uniformly very large gains therefore scores lower than one of large gains; both score higher than texts without gains.

Every token of a memorized text is easy for the target, so all its tokens are in the bins of the easiest non-member tokens,
which have almost no weight. With `difficulty: base` the bins use d_t = -ln p_base(x_t | x_<t), which fine-tuning does not
change. This is better if much was memorized, and worse if little was.

Departures from the authors' code:

- They fit bins and quantiles on the attacked texts, members included, so a score depends on the other texts, and in a pool of
  one class half of the tokens still resemble members. Ours fits both on known non-members.
- z_t is the quantile at the middle of r_t's rank among the n known tokens of the bin, (rank + 1/2) / (n + 1). This is finite for
  a gain above all of them, and 0 where all gains are equal.
- Their code applies Phi to z with the mean and twice the standard deviation of the raw r of the bin. Where r hardly varies, as
  at easy tokens, this keeps all losses and drops all gains; where r is constant, as before fine-tuning, the score is not a
  number. Ours uses mean 0 and standard deviation 1.
- Theirs gives the most difficult token z = 0, because no bin contains it, and estimates the quantiles of a large bin from a
  sample. Ours does neither.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from byheart.core import DataError, LogProbs, Scores, ragged

VARIANT = "bins and quantiles fitted on known non-members, in place of the attacked texts"

KNOWN = 10
"""Minimum number of known non-members: their tokens fill ten bins, and each bin should contain tokens of several texts."""


def wel(
    target: LogProbs,
    base: LogProbs,
    known_nonmembers: LogProbs,
    known_nonmembers_base: LogProbs,
    *,
    bins: Annotated[int, Ge(1)] = 10,
    temperature: Annotated[float, Gt(0)] = 2.0,
    difficulty: Literal["target", "base"] = "target",
) -> Scores:
    """Mean gain over the base model in standard deviations, weighted by difficulty (nats); higher means member.

    Gains are normalized among tokens of known non-members that are equally difficult for the model that `difficulty` names, in `bins`
    bins; `temperature` widens the range of gains that count. Raises `DataError` if target and base did not score the same tokens, and
    without known non-members.
    """
    from scipy.special import ndtr, ndtri  # imported here: the import takes 0.1 s, and other attacks do not need it

    ragged.check_same_tokens("wel", target.starts, base.starts)
    ragged.check_same_tokens("wel", known_nonmembers.starts, known_nonmembers_base.starts)
    if not len(known_nonmembers):
        raise DataError("attacks wel: no known non-members. Set data.known, for example to 50.")
    models = (target, known_nonmembers) if difficulty == "target" else (base, known_nonmembers_base)
    difficulties, known_difficulties = (-model.logp.astype(np.float64) for model in models)
    gain = target.logp.astype(np.float64) - base.logp
    known_gain = known_nonmembers.logp.astype(np.float64) - known_nonmembers_base.logp
    edges = np.sort(known_difficulties)[np.arange(1, bins) * len(known_difficulties) // bins]
    # The outer bins are open: a token may be more or less difficult than all known tokens.
    bin_of, known_bin_of = (
        np.searchsorted(edges, token_difficulties, side="right")
        for token_difficulties in (difficulties, known_difficulties)
    )
    z_scores, bin_weights = np.zeros(len(gain)), np.zeros(bins)
    for b in np.unique(known_bin_of):  # a bin without a known token (possible with ties) has weight 0
        sorted_gains = np.sort(known_gain[known_bin_of == b])
        is_in_bin = bin_of == b
        rank = (
            np.searchsorted(sorted_gains, gain[is_in_bin], "left")
            + np.searchsorted(sorted_gains, gain[is_in_bin], "right")
        ) / 2
        z_scores[is_in_bin] = ndtri((rank + 0.5) / (len(sorted_gains) + 1))
        bin_weights[b] = known_difficulties[known_bin_of == b].mean()
    return ragged.means(z_scores * bin_weights[bin_of] * ndtr(-z_scores / temperature), target.starts)
