"""Group AUC: area under the ROC curve over groups, such as documents or users, instead of texts.

Nikhil Kandpal, Krishna Pillutla, Alina Oprea, Peter Kairouz, Christopher Choquette-Choo, Zheng Xu. User Inference
Attacks on Large Language Models. EMNLP, 2024. arXiv 2310.09266.
Matthieu Meeus, Shubham Jain, Marek Rei, Yves-Alexandre de Montjoye. Did the Neurons Read your Book? Document-level
Membership Inference for Large Language Models. USENIX Security, 2024. arXiv 2310.15007.

    AUC = P(member group's score > non-member group's) + P(equal) / 2,   a group's score: mean, max or sum of its texts'

A weak signal in each text accumulates over the texts of a group; Kandpal et al. use the mean of a user's texts. A group is one unit
however many texts it has, so the interval is that of `auc` with as many independent samples as there are groups. If every group
has one text, the two metrics are equal.

The two classes must have one distribution of group sizes. `max` and the magnitude of `sum` grow with the number of texts, and a mean
of few texts is more spread out and more skewed than a mean of many. So if the sizes differ between the classes, the AUC is not .5
without leakage, and the sizes alone separate the classes. byheart's split draws both classes by whole groups in the same way. For
other data the sizes are compared by a two-sample Anderson-Darling test, whose p-value is from permutations: of data with one
distribution of sizes, at most 1 % are refused. For few groups, the test has no power; then a class of single texts against a
class of which every fifth group has several texts is refused without a test.

A. N. Pettitt. A two-sample Anderson-Darling rank statistic. Biometrika 63(1), 1976. F. W. Scholz, M. A. Stephens. K-sample
Anderson-Darling tests. JASA 82(399), 1987.

A group of members and non-members raises an error. It is not left out, because the rest would be another population than the
reported one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from byheart.core.errors import DataError
from byheart.core.types import Estimate, Scores
from byheart.stats.roc_auc import auc_interval

RANGE = (0.0, 1.0)
REVISION = 1  # refuses classes with different group sizes
SIZES_ALPHA = 0.01  # share of refused data among those with one distribution of sizes
PERMUTATIONS = 1999
MULTIPLE_SHARE = 0.2  # of groups with several texts, at which a class of single texts differs without a test


def group_auc(
    scores: Scores,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    *,
    aggregate: Literal["mean", "max", "sum"] = "mean",
) -> Estimate:
    """Probability (0 to 1) that a member group's score is above a non-member group's, ties count half; 0.5 is chance, 1 all is leaked.

    Counts groups, not texts. Raises `DataError` for a group with members and non-members, for classes whose group sizes differ, if
    either class has no group, and for a score that is not a number.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(group)
    member_counts = np.bincount(group, membership)
    is_mixed = (member_counts > 0) & (member_counts < sizes)
    if is_mixed.any():
        raise DataError(
            f"metrics group_auc: {int(is_mixed.sum())} of {len(names)} groups contain members and non-members "
            f"(for example {str(names[np.argmax(is_mixed)])!r}). Write data.split: group, or use auc."
        )
    is_member = member_counts > 0
    _check_sizes(sizes[is_member], sizes[~is_member])
    reduce = np.maximum if aggregate == "max" else np.add
    # Sorted by score, so that a sum's last bit does not depend on the order of the texts.
    order = np.lexsort((scores, group))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    with np.errstate(invalid="ignore"):  # infinite scores of both signs have no mean; `auc_interval` raises
        group_scores = reduce.reduceat(scores[order].astype(np.float64), starts)
        group_scores = group_scores / sizes if aggregate == "mean" else group_scores
    value, interval = auc_interval(group_scores, is_member, tuple(map(str, names)))
    return Estimate(value, *interval, int(is_member.sum()), int((~is_member).sum()))


def _check_sizes(
    member_sizes: Int[np.ndarray, " member_groups"], nonmember_sizes: Int[np.ndarray, " other_groups"]
) -> None:
    """Raise `DataError` if the classes' group sizes have different distributions."""
    classes = (member_sizes, nonmember_sizes)
    if not all(map(len, classes)):
        return
    p_value = _same_sizes_p_value(*classes)
    multiple_shares = sorted(float((sizes > 1).mean()) for sizes in classes)
    is_alone = multiple_shares[0] == 0 and multiple_shares[1] >= MULTIPLE_SHARE
    if is_alone or p_value < SIZES_ALPHA:
        described = (
            f"{len(sizes)} {name} groups of {sizes.mean():.2f} texts on average ({sizes.min()} to {sizes.max()})"
            for name, sizes in zip(("member", "non-member"), classes, strict=True)
        )
        raise DataError(
            f"metrics group_auc: the group sizes differ between the classes: {' against '.join(described)}, p = {p_value:.2g}. They "
            "separate the classes without a model. Provide both classes in whole groups from one source, or use auc."
        )


def _same_sizes_p_value(first: Int[np.ndarray, " first"], second: Int[np.ndarray, " second"]) -> float:
    """Permutation p-value of the Anderson-Darling test that two samples of sizes have one distribution; the seed is fixed."""
    values = np.unique(np.concatenate([first, second]))
    counts = np.array([np.bincount(np.searchsorted(values, sizes), minlength=len(values)) for sizes in (first, second)])
    pooled = counts.sum(0)
    permuted = np.random.default_rng(0).multivariate_hypergeometric(pooled, len(first), size=PERMUTATIONS)
    cumulative = pooled.cumsum()
    # Mid-ranks of tied sizes, as in the second version of Scholz and Stephens: a size counts half at its own place.
    middle = cumulative - pooled / 2
    total = len(first) + len(second)
    weights = pooled / (middle * (total - middle) - total * pooled / 4) if len(values) > 1 else np.zeros(1)
    expected = middle * len(first) / total
    rows = np.concatenate([counts[:1], permuted])
    statistics = ((rows.cumsum(1) - rows / 2 - expected) ** 2 * weights).sum(1)
    return float((statistics >= statistics[0] - 1e-9).mean())
