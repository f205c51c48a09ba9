"""WEL-MIA: tokens are compared with tokens as hard as they are, and hard ones count for more.

Changtian Song, Dongdong Zhao, Jianwen Xiang. Not All Tokens Are Equal: Membership Inference Attacks Against Fine-tuned
Language Models. ACSAC, 2024; proceedings doi 10.1109/ACSAC63791.2024.

    r_t = ln p_target(x_t | x_<t) - ln p_base(x_t | x_<t)        d_t = -ln p_target(x_t | x_<t), in ten bins of equal size
    z_t = r_t, normalised to N(0, 1) by its quantiles in the bin of d_t
    w_t = mean d of the bin * (1 - Phi(z_t / 2))
    score(x) = mean of w_t z_t

The second factor of w keeps a few large gains from deciding; so a text of evenly very large gains scores less than one
of large gains, and both above texts without.

A text known by heart is easy to the target in every token: all of it falls among the easiest tokens of texts that were not
trained on, which count for next to nothing. With `difficulty: base` the bins are of d_t = -ln p_base(x_t | x_<t), which
tuning does not move; better where much was memorised, worse where little was.

The authors fit bins and quantiles on the very texts that are judged, members among them: a text's score depends on who
else is judged, and in a pool of one kind alone half of the tokens look like members' all the same. Ours fits both on
non-members that the adversary knows. z_t is the quantile of the middle of r_t's rank among the n known tokens of the
bin, (rank + 1/2) / (n + 1), which is finite for what exceeds them all, and 0 where nothing differs.

Their code takes Phi with the mean and twice the standard deviation of the raw r of the bin, though it takes it of z: where
r hardly varies, as at easy tokens, this leaves all losses and drops all gains, and where it does not vary at all, as
before tuning, the score is not a number. Ours takes z's own, 0 and 1. Theirs also gives the hardest token of all z = 0,
because no bin holds it, and draws the quantiles of a large bin from a sample.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from byheart.core import DataError, LogProbs, Scores, ragged

KNOWN = 10
"""The fewest known non-members: their tokens are dealt into ten bins, each of which is to hold some of several texts."""


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
    """Mean gain over the base in standard deviations, weighted by difficulty (nats); higher means member.

    Gains are normalised among tokens of known non-members that are as hard to the model that `difficulty` names, in
    `bins` bins; `temperature` widens the range of gains that count. Raises `DataError` where target and base did not
    score the same tokens, and without known non-members.
    """
    from scipy.special import ndtr, ndtri  # 0.1 s that other attacks need not pay

    ragged.check_same_tokens("wel", target.starts, base.starts)
    ragged.check_same_tokens("wel", known_nonmembers.starts, known_nonmembers_base.starts)
    if not len(known_nonmembers):
        raise DataError("wel needs texts that its adversary knows not to be members; set data.known, to 50 or so")
    judges = (target, known_nonmembers) if difficulty == "target" else (base, known_nonmembers_base)
    hard, known_hard = (-model.logp.astype(np.float64) for model in judges)
    gain = target.logp.astype(np.float64) - base.logp
    known_gain = known_nonmembers.logp.astype(np.float64) - known_nonmembers_base.logp
    edges = np.sort(known_hard)[np.arange(1, bins) * len(known_hard) // bins]
    # The outer bins are open: a token may be harder or easier than all that are known.
    bin_of, known_bin_of = (np.searchsorted(edges, d, side="right") for d in (hard, known_hard))
    normal, weight = np.zeros(len(gain)), np.zeros(bins)
    for b in np.unique(known_bin_of):  # a bin without a known token (there are ties) counts for nothing
        known = np.sort(known_gain[known_bin_of == b])
        here = bin_of == b
        rank = (np.searchsorted(known, gain[here], "left") + np.searchsorted(known, gain[here], "right")) / 2
        normal[here] = ndtri((rank + 0.5) / (len(known) + 1))
        weight[b] = known_hard[known_bin_of == b].mean()
    return ragged.means(normal * weight[bin_of] * ndtr(-normal / temperature), target.starts)
