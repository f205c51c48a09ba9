"""AUC with intervals, p-values and paired differences, clustered by group. Intervals are two-sided 95 % by default.

- AUC, its variance and paired differences: E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988) 837-845, in
  O(n log n) as X. Sun and W. Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393. Clusters: N. Obuchowski, Biometrics 53
  (1997) 567-578, which equals DeLong's variance if every text is a separate group.
- Critical value: Student's t with F. Satterthwaite's degrees of freedom (Biometrics Bulletin 2 (1946) 110-114), from the
  fourth moments of the texts' placements, because near an AUC of 1 a few discordant texts carry all of the variance. With
  300 texts per class and a true AUC of 0.999, the 95 % interval covers in 96 % of simulated studies, a normal one in 91 %.
- Skewness of a difference: near an AUC of 1, the standard error is small in the samples in which the difference is small, so
  Student's t misses large differences too often. Each end is moved outward by the one-term Edgeworth expansion of a
  studentized U-statistic (R. Helmers, Annals of Statistics 19 (1991) 470-484), written for two samples of groups. Ours never
  moves an end inward: the skewness is estimated, and with 20 groups per class and two AUCs of 0.95 such intervals cover in
  88 % of simulated studies. P-values are widened alike, so they are below 0.05 exactly if the interval excludes 0.
- If that variance is zero (perfect separation, all scores tied) or a class is one group: W. Hoeffding, Journal of the
  American Statistical Association 58 (1963) 13-30, sections 2 and 5, in the Kullback-Leibler form, valid for any
  distribution and sample size. At an AUC of 1 its lower end is (alpha / 2) ** (1 / min(members, non-members)).
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
    """A variance, and the degrees of freedom of its estimate."""

    variance: float
    degrees_of_freedom: float


class AucDifference(NamedTuple):
    """A difference of two AUCs, its 95 % interval, and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p_value: float


def member_and_nonmember_scores(
    scores: Scores, membership: Bool[np.ndarray, " texts"]
) -> tuple[Float[np.ndarray, " members"], Float[np.ndarray, " nonmembers"]]:
    """Scores of the members, and scores of the non-members.

    Raises `DataError` for an empty class, and for a score that is NaN.
    """
    if np.isnan(scores).any():
        raise DataError(
            f"scores: text number {int(np.argmax(np.isnan(scores)))} has a score that is not a number (NaN). "
            "Fix the attack that computed it."
        )
    members, nonmembers = scores[membership], scores[~membership]
    if not len(members) or not len(nonmembers):
        raise DataError(
            f"members and non-members: there are {len(members)} and {len(nonmembers)}. Provide at least one of each."
        )
    return members, nonmembers


def allowed_false_positives(nonmembers: int, fpr: float) -> int:
    """Number of false positives that a false positive rate allows among this many non-members: at least 1.

    Raises `DataError` if it allows none, because then no threshold realizes the rate.
    """
    allowed = math.floor(fpr * nonmembers + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if allowed:
        return allowed
    digits = math.ceil(math.log10(max(nonmembers, 1))) + 1
    coarser = math.ceil(10**digits / nonmembers) / 10**digits if nonmembers > 1 else 1.0
    fix = f"Write fpr: {coarser:g} or more, or raise data.nonmembers." if coarser < 1 else "Raise data.nonmembers."
    raise DataError(
        f"TPR at {100 * fpr:g} % FPR: needs {math.ceil(1 / fpr - 1e-9)} non-members; there are {nonmembers}. {fix}"
    )


def placements(scores: Scores, membership: Bool[np.ndarray, " texts"]) -> Float[np.ndarray, " texts"]:
    """Share (0 to 1) of the other class that each text is ranked correctly against; ties count half.

    The mean over the members is the AUC, and so is the mean over the non-members. Raises as `member_and_nonmember_scores`
    does.
    """
    members, nonmembers = (np.sort(side) for side in member_and_nonmember_scores(scores, membership))
    below = np.searchsorted(nonmembers, scores, "left") + np.searchsorted(nonmembers, scores, "right")
    above = 2 * len(members) - np.searchsorted(members, scores, "left") - np.searchsorted(members, scores, "right")
    return np.where(membership, below / (2 * len(nonmembers)), above / (2 * len(members)))


def placement_variance(
    placement_values: Float[np.ndarray, " texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> VarianceEstimate:
    """Obuchowski's variance of an AUC, or of the difference of two AUCs for differences of placements.

    The variance within a class of one group cannot be estimated: it is then 0, and the caller uses Hoeffding's bound.
    """
    group = group_indices(groups)
    total = int(group.max()) + 1
    sums_by_class: list[Float[np.ndarray, " groups"]] = []
    squares = fourths = variance = 0.0
    for in_class in (membership, ~membership):
        group_sums = np.bincount(
            group[in_class],
            (placement_values[in_class] - placement_values[in_class].mean()) / in_class.sum(),
            minlength=total,
        )
        present = int(np.count_nonzero(np.bincount(group[in_class])))
        if present == 1:
            return VarianceEstimate(0.0, 1.0)
        square = float(group_sums @ group_sums)
        squares += square
        fourths += float((group_sums**4).sum()) - square**2 / present
        variance += present / (present - 1) * square
        sums_by_class.append(group_sums)
    variance += 2 * total / (total - 1) * float(sums_by_class[0] @ sums_by_class[1])
    if variance <= NO_VARIANCE:
        return VarianceEstimate(0.0, 1.0)
    return VarianceEstimate(variance, max(1.0, 2 * squares**2 / max(fourths, 1e-9 * squares**2)))


def independent_pairs(membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]) -> float:
    """Number of member and non-member pairs without a common text or group: the sample size of Hoeffding's bound.

    Groups of unequal size count as Kish's effective number, and half if a group has both members and non-members.
    """
    group = group_indices(groups)
    has_mixed_groups = np.intersect1d(group[membership], group[~membership]).size > 0
    group_sizes = [np.unique(group[in_class], return_counts=True)[1] for in_class in (membership, ~membership)]
    return min(float(n.sum() ** 2 / (n @ n)) for n in group_sizes) / (2 if has_mixed_groups else 1)


def auc_interval(
    scores: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...], *, tail: float = TAIL
) -> tuple[float, tuple[float, float]]:
    """AUC (0.5 is chance, higher means more leakage) and its interval on the logit scale, clustered by group.

    Hoeffding's bound if the variance is zero. Raises as `member_and_nonmember_scores` does.
    """
    placement_values = placements(scores, membership)
    value, estimate = (
        float(placement_values[membership].mean()),
        placement_variance(placement_values, membership, groups),
    )
    if estimate.variance == 0 or not 0 < value < 1:
        return value, hoeffding(value, independent_pairs(membership, groups), tail=tail)
    return value, logit_interval(
        value, t_critical_value(estimate.degrees_of_freedom, tail=tail) * math.sqrt(estimate.variance)
    )


def auc_p_value(scores: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...], bound: float) -> float:
    """One-sided p-value of the null hypothesis that the AUC is at most `bound` (above 0, below 1); matches `auc_interval`."""
    from scipy.special import logit, rel_entr, stdtr

    placement_values = placements(scores, membership)
    value, estimate = (
        float(placement_values[membership].mean()),
        placement_variance(placement_values, membership, groups),
    )
    if estimate.variance == 0 or not 0 < value < 1:
        divergence = float(rel_entr(value, bound) + rel_entr(1 - value, 1 - bound))
        return math.exp(-independent_pairs(membership, groups) * divergence) if value > bound else 1.0
    standard_error = math.sqrt(estimate.variance) / (value * (1 - value))
    return float(stdtr(estimate.degrees_of_freedom, (logit(bound) - logit(value)) / standard_error))


def weighted_wins(
    scores: Scores, membership: Bool[np.ndarray, " texts"], weights: Float[np.ndarray, " texts"]
) -> float:
    """Sum of the products of two texts' weights, over the pairs whose member has the higher score; ties count half."""
    nonmembers, members = scores[~membership], scores[membership]
    order = np.argsort(nonmembers)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[~membership][order])])
    below = sum(cumulative[np.searchsorted(nonmembers[order], members, side)] for side in ("left", "right"))
    return float(weights[membership] @ below) / 2


def skewness_shift(
    first: Scores, second: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...], variance: float
) -> float:
    """Shift that skewness causes in both ends of the interval of a difference of two AUCs, as a share of its half width.

    Positive: toward larger differences. Computed at the normal 97.5 % quantile z, as

        ((2 z^2 + 1) / 6 sum_g D_g^3 + (z^2 + 1) sum_ij D_g(i) D_g(j) r_ij / (members nonmembers)) / (z variance^1.5)

    D_g is the effect of group g on the difference: the sum of its texts' centered placement differences, each divided by the
    number of texts in the class. r_ij is the part of a pair's difference that the placements of member i and non-member j do
    not explain.
    """
    centered = placements(first, membership) - placements(second, membership)
    value = float(centered[membership].mean())
    centered -= value
    group, counts = group_indices(groups), (int(membership.sum()), int((~membership).sum()))
    effects = np.bincount(group, centered / np.where(membership, *counts))
    weights = effects[group]
    member_sum, nonmember_sum = float(weights[membership].sum()), float(weights[~membership].sum())
    residual = (
        weighted_wins(first, membership, weights)
        - weighted_wins(second, membership, weights)
        - nonmember_sum * float(weights[membership] @ centered[membership])
        - member_sum * float(weights[~membership] @ centered[~membership])
        - member_sum * nonmember_sum * value
    ) / (counts[0] * counts[1])
    z = t_critical_value(math.inf)
    moments = (2 * z**2 + 1) / 6 * float((effects**3).sum()) + (z**2 + 1) * residual
    return moments / (z * variance**1.5)


def auc_difference(
    first: Scores, second: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> AucDifference:
    """AUC of the first scores minus AUC of the second on the same texts: DeLong's paired test, clustered by group.

    Skewness widens an end (`skewness_shift`). Hoeffding's bound if the variance is zero. If the variance is zero and one of the
    two score arrays is constant, as that of an attack that compares a model with itself, the other AUC is compared with 0.5.
    Raises as `member_and_nonmember_scores` does.
    """
    from scipy.special import stdtr

    placement_values = placements(first, membership) - placements(second, membership)
    value = float(placement_values[membership].mean())
    variance, degrees_of_freedom = placement_variance(placement_values, membership, groups)
    if variance == 0 and np.ptp(second) == 0:
        _, (low, high) = auc_interval(first, membership, groups)
        p_value = 2 * min(auc_p_value(s, membership, groups, 0.5) for s in (first, -first))
        return AucDifference(value, low - 0.5, high - 0.5, min(1.0, p_value))
    if variance == 0 and np.ptp(first) == 0:
        swapped = auc_difference(second, first, membership, groups)
        return AucDifference(-swapped.value, -swapped.high, -swapped.low, swapped.p_value)
    if variance == 0:
        pairs = independent_pairs(membership, groups)
        below = above = math.sqrt(2 * math.log(1 / TAIL) / pairs)
        p_value = min(1.0, 2 * math.exp(-pairs * value**2 / 2))
    else:
        standard_error = math.sqrt(variance)
        shift = skewness_shift(first, second, membership, groups, variance)
        margin = t_critical_value(degrees_of_freedom) * standard_error
        below, above = margin * (1 + max(0.0, -shift)), margin * (1 + max(0.0, shift))
        toward_zero = below if value > 0 else above
        p_value = 2 * float(stdtr(degrees_of_freedom, -abs(value) / standard_error * margin / toward_zero))
    return AucDifference(value, max(-1.0, value - below), min(1.0, value + above), p_value)
