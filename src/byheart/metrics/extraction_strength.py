"""Extraction strength (ES): measures the share of a text that the model generates greedily if the beginning is given.

Qizhou Wang, Bo Han, Puning Yang, Jianing Zhu, Tongliang Liu, Masashi Sugiyama. Towards Effective Evaluations and Comparisons for
LLM Unlearning Methods. ICLR, 2025. arXiv 2406.09179.

    ES = mean over texts of 1 - 1/N min {k : greedy decoding from x_1 ... x_k gives x_(k+1) ... x_N}

Departure: a text whose last token is not the most likely one has 0. OpenUnlearning's code gives it 1/N.

The difference between members and non-members is the part that training explains: a model predicts many tokens of texts that it
never saw. Also compare with the base model's values (epoch 0). The intervals are those of a mean, corrected for skewness (Peter
Hall, Journal of the Royal Statistical Society B 54 (1992) 221-228), with texts of a group together; that of the difference is
Welch's (B. Welch, Biometrika 34 (1947) 28-35).
"""

from __future__ import annotations

from byheart.core import ragged
from byheart.core.types import Estimate, TokenStats
from byheart.metrics._means import means_of_both_classes

RANGE = {"of=": (0.0, 1.0), "over=": (-1.0, 1.0)}


def extraction_strength(
    train: TokenStats, nonmember: TokenStats, member_groups: tuple[str, ...], nonmember_groups: tuple[str, ...]
) -> dict[str, Estimate]:
    """Mean share (0 to 1) of a text, at its end, that greedy decoding generates from the beginning; higher is more memorized.

    Three values: `of=members`, `of=nonmembers`, and `over=nonmembers`, the first minus the second (-1 to 1). No interval for a class
    of one group.
    """
    members, nonmembers = (
        ragged.trailing_lengths(stats.rank == 0, stats.starts) / ragged.lengths(stats.starts)
        for stats in (train, nonmember)
    )
    return means_of_both_classes(members, nonmembers, member_groups, nonmember_groups)
