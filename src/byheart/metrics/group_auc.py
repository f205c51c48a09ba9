"""Group AUC: area under the ROC curve over groups, such as documents or users, instead of texts.

Nikhil Kandpal, Krishna Pillutla, Alina Oprea, Peter Kairouz, Christopher Choquette-Choo, Zheng Xu. User Inference
Attacks on Large Language Models. EMNLP, 2024. arXiv 2310.09266.
Matthieu Meeus, Shubham Jain, Marek Rei, Yves-Alexandre de Montjoye. Did the Neurons Read your Book? Document-level
Membership Inference for Large Language Models. USENIX Security, 2024. arXiv 2310.15007.

    AUC = P(member group's score > non-member group's) + P(equal) / 2,   a group's score: mean, max or sum of its texts'

A weak signal in each text accumulates over the texts of a group; Kandpal et al. use the mean of a user's texts. A group is one unit
however many texts it has, so the interval is that of `auc` with as many independent samples as there are groups. If every group
has one text, the two metrics are equal.

With groups of unequal size, `max` and the magnitude of `sum` grow with the number of texts. If one class has larger groups, both
separate the classes without a model. The default `mean` does not.

A group of members and non-members raises an error. It is not left out, because the rest would be another population than the
reported one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool

from byheart.core.errors import DataError
from byheart.core.types import Estimate, Scores
from byheart.stats.roc_auc import auc_interval


def group_auc(
    scores: Scores,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    *,
    aggregate: Literal["mean", "max", "sum"] = "mean",
) -> Estimate:
    """Probability (0 to 1) that a member group's score is above a non-member group's, ties count half; 0.5 is chance, 1 all is leaked.

    Counts groups, not texts. Raises `DataError` for a group with members and non-members, if either class has no group, and for a
    score that is not a number.
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
    reduce = np.maximum if aggregate == "max" else np.add
    # Sorted by score, so that a sum's last bit does not depend on the order of the texts.
    order = np.lexsort((scores, group))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    with np.errstate(invalid="ignore"):  # infinite scores of both signs have no mean; `auc_interval` raises
        group_scores = reduce.reduceat(scores[order].astype(np.float64), starts)
        group_scores = group_scores / sizes if aggregate == "mean" else group_scores
    is_member = member_counts > 0
    value, interval = auc_interval(group_scores, is_member, tuple(map(str, names)))
    return Estimate(value, *interval, int(is_member.sum()), int((~is_member).sum()))
