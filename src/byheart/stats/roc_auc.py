"""Intervals and tests. Pure NumPy and SciPy; an interval is two-sided and of 95 %, unless asked otherwise.

- AUC, its variance and paired differences: E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988) 837-845, in
  O(n log n) as X. Sun and W. Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393; texts that share a group as
  N. Obuchowski, Biometrics 53 (1997) 567-578, which is DeLong's where every text is a group of its own.
- Its reach is Student's with F. Satterthwaite's degrees of freedom (Biometrics Bulletin 2 (1946) 110-114), which the
  texts' fourth moments give: near an AUC of 1 a few discordant texts carry all of the variance. With 300 texts a side
  and a true AUC of 0.999 the 95 % interval then holds in 96 % of simulated studies, with the normal's in 91 %.
- Where that variance is zero (perfect separation, all scores tied) or a side is one group: W. Hoeffding, Journal of the
  American Statistical Association 58 (1963) 13-30, sections 2 and 5, in the Kullback-Leibler form. It holds for any
  distribution and any size. At an AUC of 1 its lower end is (alpha / 2) ** (1 / min(members, non-members)).
- Proportions: C. Clopper, E. Pearson, Biometrika 26 (1934) 404-413. Effective numbers: L. Kish, Survey Sampling (1965).
- Many p-values: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.errors import DataError
from byheart.core.types import Scores
from byheart.stats.intervals import NO_VARIANCE, TAIL, group_indices, hoeffding, logit_interval, t_critical_value


class VarianceEstimate(NamedTuple):
    """A variance, and the degrees of freedom that it was estimated with."""

    variance: float
    degrees_of_freedom: float


class AucDifference(NamedTuple):
    """A difference, its interval, and the two-sided p-value of there being none."""

    value: float
    low: float
    high: float
    p_value: float


def member_and_nonmember_scores(
    scores: Scores, membership: Bool[np.ndarray, " texts"]
) -> tuple[Float[np.ndarray, " members"], Float[np.ndarray, " nonmembers"]]:
    """Scores of the members, and scores of the non-members.

    Raises `DataError` where a side is empty, or a score is not a number.
    """
    if np.isnan(scores).any():
        raise DataError(f"the score of text number {int(np.argmax(np.isnan(scores)))} is not a number; mend the attack")
    members, nonmembers = scores[membership], scores[~membership]
    if not len(members) or not len(nonmembers):
        raise DataError(f"members are told from non-members: there are {len(members)} and {len(nonmembers)}")
    return members, nonmembers


def allowed_false_positives(nonmembers: int, fpr: float) -> int:
    """Number of false positives that a false positive rate allows among so many non-members: at least 1.

    Raises `DataError` where it allows none, because then no threshold realises the rate.
    """
    allowed = math.floor(fpr * nonmembers + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if allowed:
        return allowed
    digits = math.ceil(math.log10(max(nonmembers, 1))) + 1
    coarser = math.ceil(10**digits / nonmembers) / 10**digits if nonmembers > 1 else 1.0
    instead = f"write fpr: {coarser:g} or more, or " if coarser < 1 else ""
    raise DataError(
        f"TPR at {100 * fpr:g} % FPR needs {math.ceil(1 / fpr - 1e-9)} non-members; there are {nonmembers}: "
        f"{instead}raise data.nonmembers"
    )


def placements(scores: Scores, membership: Bool[np.ndarray, " texts"]) -> Float[np.ndarray, " texts"]:
    """Share of the other side that each text is rightly ordered against, ties counting half.

    The mean over the members, and the mean over the non-members, are the AUC. Raises as `sides` does.
    """
    members, nonmembers = (np.sort(side) for side in member_and_nonmember_scores(scores, membership))
    below = np.searchsorted(nonmembers, scores, "left") + np.searchsorted(nonmembers, scores, "right")
    above = 2 * len(members) - np.searchsorted(members, scores, "left") - np.searchsorted(members, scores, "right")
    return np.where(membership, below / (2 * len(nonmembers)), above / (2 * len(members)))


def placement_variance(
    placement_values: Float[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> VarianceEstimate:
    """Obuchowski's variance of an AUC, or of the difference of two where their placements were subtracted.

    A side that is one group says nothing of its own spread: the variance is then 0, and the caller's fallback holds.
    """
    group = group_indices(groups)
    total = int(group.max()) + 1
    parts: list[Float[np.ndarray, " groups"]] = []
    squares = fourths = variance = 0.0
    for side in (membership, ~membership):
        part = np.bincount(
            group[side], (placement_values[side] - placement_values[side].mean()) / side.sum(), minlength=total
        )
        present = int(np.count_nonzero(np.bincount(group[side])))
        if present == 1:
            return VarianceEstimate(0.0, 1.0)
        square = float(part @ part)
        squares += square
        fourths += float((part**4).sum()) - square**2 / present
        variance += present / (present - 1) * square
        parts.append(part)
    variance += 2 * total / (total - 1) * float(parts[0] @ parts[1])
    if variance <= NO_VARIANCE:
        return VarianceEstimate(0.0, 1.0)
    return VarianceEstimate(variance, max(1.0, 2 * squares**2 / max(fourths, 1e-9 * squares**2)))


def independent_pairs(membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]) -> float:
    """Number of pairs of a member and a non-member that share neither text nor group: what Hoeffding's bound counts.

    Groups of unequal size count as Kish's effective number, and half where a group holds both members and non-members.
    """
    group = group_indices(groups)
    mixed = np.intersect1d(group[membership], group[~membership]).size > 0
    sizes = [np.unique(group[side], return_counts=True)[1] for side in (membership, ~membership)]
    return min(float(n.sum() ** 2 / (n @ n)) for n in sizes) / (2 if mixed else 1)


def auc_interval(
    scores: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...], *, tail: float = TAIL
) -> tuple[float, tuple[float, float]]:
    """Area under the ROC curve, and its interval on the logit scale, inside [0, 1] and clustered by group.

    Hoeffding's bound where the variance is zero. Raises as `sides` does.
    """
    placed = placements(scores, membership)
    value, spread = float(placed[membership].mean()), placement_variance(placed, membership, groups)
    if spread.variance == 0 or not 0 < value < 1:
        return value, hoeffding(value, independent_pairs(membership, groups), tail=tail)
    return value, logit_interval(
        value, t_critical_value(spread.degrees_of_freedom, tail=tail) * math.sqrt(spread.variance)
    )


def auc_p_value(scores: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...], bound: float) -> float:
    """One-sided p-value of an AUC of at most `bound` (above 0, below 1), of the test that `auc_interval` is made from."""
    from scipy.special import logit, rel_entr, stdtr

    placed = placements(scores, membership)
    value, spread = float(placed[membership].mean()), placement_variance(placed, membership, groups)
    if spread.variance == 0 or not 0 < value < 1:
        divergence = float(rel_entr(value, bound) + rel_entr(1 - value, 1 - bound))
        return math.exp(-independent_pairs(membership, groups) * divergence) if value > bound else 1.0
    error = math.sqrt(spread.variance) / (value * (1 - value))
    return float(stdtr(spread.degrees_of_freedom, (logit(bound) - logit(value)) / error))


def auc_difference(
    first: Scores, second: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> AucDifference:
    """AUC of the first scores minus AUC of the second on the same texts: DeLong's paired test, clustered by group.

    Hoeffding's bound where the variance is zero: that of the one AUC against one half where the other scores are all tied,
    as those of an attack that compares a model with itself. Raises as `sides` does.
    """
    from scipy.special import stdtr

    placed = placements(first, membership) - placements(second, membership)
    value = float(placed[membership].mean())
    variance, freedom = placement_variance(placed, membership, groups)
    if variance == 0 and np.ptp(second) == 0:
        _, (low, high) = auc_interval(first, membership, groups)
        p_value = 2 * min(auc_p_value(s, membership, groups, 0.5) for s in (first, -first))
        return AucDifference(value, low - 0.5, high - 0.5, min(1.0, p_value))
    if variance == 0 and np.ptp(first) == 0:
        other = auc_difference(second, first, membership, groups)
        return AucDifference(-other.value, -other.high, -other.low, other.p_value)
    if variance == 0:
        pairs = independent_pairs(membership, groups)
        reach = math.sqrt(2 * math.log(1 / TAIL) / pairs)
        p_value = min(1.0, 2 * math.exp(-pairs * value**2 / 2))
    else:
        reach = t_critical_value(freedom) * math.sqrt(variance)
        p_value = 2 * float(stdtr(freedom, -abs(value) / math.sqrt(variance)))
    return AucDifference(value, max(-1.0, value - reach), min(1.0, value + reach), p_value)
