"""Area under the ROC curve over groups: was this document, this user, among what was trained on?

Nikhil Kandpal, Krishna Pillutla, Alina Oprea, Peter Kairouz, Christopher Choquette-Choo, Zheng Xu. User Inference
Attacks on Large Language Models. EMNLP, 2024. arXiv 2310.09266.
Matthieu Meeus, Shubham Jain, Marek Rei, Yves-Alexandre de Montjoye. Did the Neurons Read your Book? Document-level
Membership Inference for Large Language Models. USENIX Security, 2024. arXiv 2310.15007.

    AUC = P(member group's score > non-member group's) + P(equal) / 2,   a group's score: mean, max or sum of its texts'

A weak signal on each text adds up over a group's texts; Kandpal et al. take the mean of a user's. A group is one unit
however many texts it has, so the interval is that of `auc` over as many independent draws as there are groups, and where
every group has one text the two metrics are one.

With unequal groups `max` grows with a group's number of texts, and so, in size, does `sum`: where one side's groups are
larger, either tells the sides apart without a model. `mean` does not, and is the default.

A group of members and non-members is neither. It is refused, not left out: what is left would be another population than
the one that is reported on.
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
    """Probability that a member group's score is above a non-member group's, ties half; 0.5 is chance, 1 all is leaked.

    Counts groups, not texts. Raises `DataError` for a group with texts of both sides, where a side has no group, and
    where a score is not a number.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(group)
    inside = np.bincount(group, membership)
    mixed = (inside > 0) & (inside < sizes)
    if mixed.any():
        raise DataError(
            f"metrics group_auc: {int(mixed.sum())} of {len(names)} groups hold members and non-members "
            f"({str(names[np.argmax(mixed)])!r}, for one); write data.split: group, or take auc"
        )
    reduce = np.maximum if aggregate == "max" else np.add
    # In the order of the scores, so that a sum's last bit does not hold the order of the texts.
    order = np.lexsort((scores, group))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    with np.errstate(invalid="ignore"):  # infinite scores of either sign have no mean; refused below
        whole = reduce.reduceat(scores[order].astype(np.float64), starts)
        whole = whole / sizes if aggregate == "mean" else whole
    member = inside > 0
    value, interval = auc_interval(whole, member, tuple(map(str, names)))
    return Estimate(value, *interval, int(member.sum()), int((~member).sum()))
