"""Share of members found while accusing few non-members: what the AUC averages away.

Nicholas Carlini, Steve Chien, Milad Nasr, Shuang Song, Andreas Terzis, Florian Tramer. Membership Inference Attacks
From First Principles. IEEE Symposium on Security and Privacy, 2022. arXiv 2112.03570.

    TPR = max over thresholds c of #{members > c} / members, where #{non-members > c} / non-members <= fpr

Never interpolated, so the realised FPR is at most the one asked for; tied texts are accused together or not at all.

The interval speaks of the TPR at the *population's* FPR, and so of two errors: which threshold that is, known from the
non-members alone (the binomial test of each place by the mid-P rule; by the exact rule for a threshold above all of
them, where nothing was seen), and the share of members above it (the mid-P interval). They are independent and are added
in squares, each end by itself (Robert Newcombe, Statistics in Medicine 17 (1998) 873-890; Guang Yong Zou, Allan Donner,
Statistics in Medicine 27 (2008) 1693-1702). Squares are for errors that are as good as continuous. Where non-members of
different groups tie near the threshold, it jumps between few values, and each end is at least as far out as the
members' own interval at the strictest, or laxest, of these.

Texts of one group count as their effective number, told by how much the ranks near the threshold agree: scores that go
together over their whole range may do so far less in the tail that counts.

A bootstrap of both sides, which is usual, draws no non-member above the highest one seen: at 100 non-members, an FPR of
1 % and a true AUC of 0.8 or 0.95, its 95 % intervals hold in 83 % or 77 % of simulated studies, these in 98 %.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from annotated_types import Interval
from jaxtyping import Bool, Float, Int

from byheart.core.types import Estimate, Scores
from byheart.stats.intervals import TAIL, group_indices
from byheart.stats.proportions import effective_size, mid_p, mid_p_cdf
from byheart.stats.roc_auc import allowed_false_positives, member_and_nonmember_scores

REVISION = 1  # mid-P in place of Clopper and Pearson; ties and groups near the threshold
RANK_WINDOW = 2.0  # how agreement is seen: in the ranks of so many times the texts above the threshold


def tpr_at_fpr(
    scores: Scores,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    *,
    fpr: Annotated[float, Interval(gt=0, lt=1)] = 0.01,
) -> Estimate:
    """Share of members above a threshold that at most the share `fpr` of non-members exceeds; higher is more leaked.

    Raises `DataError` where there are fewer than 1 / fpr non-members, which cannot realise the rate, where there are no
    members, or where a score is not a number.
    """
    members, nonmembers = member_and_nonmember_scores(scores, membership)
    allowed = allowed_false_positives(len(nonmembers), fpr)
    descending = np.sort(nonmembers)[::-1]
    value = _share_above(members, descending, allowed + 1)

    group = group_indices(groups)
    size = effective_size(_upper_tail_ranks(nonmembers, float(allowed)), group[~membership])
    strict, lax = _threshold_ranks(len(nonmembers), size, fpr)
    worst, best = _share_above(members, descending, strict), _share_above(members, descending, lax)

    size = effective_size(_upper_tail_ranks(members, value * len(members)), group[membership])
    low, high = mid_p(value * size, size)
    low, high = value - math.hypot(value - low, value - worst), value + math.hypot(high - value, best - value)
    if _has_ties_across_groups(nonmembers, group[~membership], slice(max(strict - 1, 0), lax)):
        low, high = min(low, mid_p(worst * size, size)[0]), max(high, mid_p(best * size, size)[1])
    return Estimate(value, max(0.0, low), min(1.0, high), len(members), len(nonmembers))


def _upper_tail_ranks(scores: Scores, top_count: float) -> Float[np.ndarray, " texts"]:
    """Ranks from the lowest score, all below `WINDOW` times the highest `count` being equal."""
    ordered = np.sort(scores)
    ranks = (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / 2
    return np.maximum(ranks, len(scores) - max(RANK_WINDOW * top_count, 1))


def _has_ties_across_groups(scores: Scores, group: Int[np.ndarray, " texts"], top_ranks: slice) -> bool:
    """Whether texts of different groups tie in these places from the top; copies within a group say nothing."""
    order = np.lexsort((group, scores))[::-1][top_ranks]
    return bool(((scores[order][1:] == scores[order][:-1]) & (group[order][1:] != group[order][:-1])).any())


def _share_above(
    members: Float[np.ndarray, " members"], sorted_nonmembers: Float[np.ndarray, " nonmembers"], rank: int
) -> float:
    """Share of members above the non-member in that place from the top: none above place 0, all above the one after."""
    if rank == 0:
        return 0.0
    if rank > len(sorted_nonmembers):
        return 1.0
    return float((members > sorted_nonmembers[rank - 1]).mean())


def _threshold_ranks(nonmember_count: int, effective_count: float, fpr: float) -> tuple[int, int]:
    """Places from the top of the strictest and the laxest threshold whose population FPR may be the one asked for."""
    places = np.arange(nonmember_count + 1)
    reached = mid_p_cdf(places * (effective_count / nonmember_count), effective_count, fpr)
    # At the true threshold c, P(score >= c) >= fpr >= P(score > c): the first rules out a c that too few reach, the
    # second a c that too many exceed. Where no scores tie, both are the same and this is the binomial test inverted.
    lax = int(places[1 - reached >= TAIL].max()) + 1
    reached[0] *= 2  # exact: of a threshold above all non-members nothing was seen
    return int(places[reached >= TAIL].min()), lax
