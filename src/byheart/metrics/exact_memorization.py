"""Exact memorization (EM): measures the share of a text's tokens that are the model's most likely next token.

Kushal Tirumala, Aram Markosyan, Luke Zettlemoyer, Armen Aghajanyan. Memorization Without Overfitting: Analyzing the Training
Dynamics of Large Language Models. NeurIPS, 2022. arXiv 2205.10770.

    EM = mean over texts of 1/N sum_t [argmax_v p(v | x_<t) = x_t]

Departure from the paper: every text has equal weight, as in benchmarks of unlearning (OpenUnlearning), not every token.

The difference between members and non-members is the part that training explains: a model predicts many tokens of texts that it
never saw. Also compare with the base model's values (epoch 0). The intervals are those of a mean, corrected for skewness (Peter
Hall, Journal of the Royal Statistical Society B 54 (1992) 221-228), with texts of a group together; that of the difference is
Welch's (B. Welch, Biometrika 34 (1947) 28-35).
"""

from __future__ import annotations

import numpy as np

from byheart.core import ragged
from byheart.core.types import Estimate, TokenStats
from byheart.metrics._means import means_of_both_classes

RANGE = {"of=": (0.0, 1.0), "over=": (-1.0, 1.0)}


def exact_memorization(
    train: TokenStats, nonmember: TokenStats, member_groups: tuple[str, ...], nonmember_groups: tuple[str, ...]
) -> dict[str, Estimate]:
    """Mean share (0 to 1) of a text's tokens that are the model's most likely token; higher is more memorized.

    Three values: `of=members`, `of=nonmembers`, and `over=nonmembers`, the first minus the second (-1 to 1). No interval for a class
    of one group.
    """
    members, nonmembers = (
        ragged.means((stats.rank == 0).astype(np.float64), stats.starts) for stats in (train, nonmember)
    )
    return means_of_both_classes(members, nonmembers, member_groups, nonmember_groups)
