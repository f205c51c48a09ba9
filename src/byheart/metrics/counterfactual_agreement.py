"""Counterfactual agreement: measures whether an attack finds the members that the training memorized.

Chiyuan Zhang, Daphne Ippolito, Katherine Lee, Matthew Jagielski, Florian Tramèr, Nicholas Carlini. Counterfactual Memorization in
Neural Language Models. NeurIPS, 2023. arXiv 2112.12938.

    Spearman's rank correlation over members of score and counterfactual memorization

An attack without calibration ranks easy texts highest, whether memorized or not; then the correlation is low although the AUC may
be high. The interval is a jackknife over groups of members, given the shadow models. Few shadow models make the counterfactual
memorization of a text noisy, which lowers the correlation of every attack.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from byheart.core.evidence import Shadows
from byheart.core.types import Estimate, Scores
from byheart.metrics._counterfactual import counterfactual_gains
from byheart.stats.jackknife import jackknife
from byheart.stats.rank_correlation import rank_correlation

RANGE = (-1.0, 1.0)


def counterfactual_agreement(
    scores: Scores, shadows: Shadows, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> Estimate:
    """Rank correlation (-1 to 1) over members of an attack's score with counterfactual memorization; higher is more agreement.

    1 is perfect agreement; 0 if all scores, or all gains, are equal. No interval for a single group.
    """
    gains, member_scores = counterfactual_gains(shadows)[membership], scores[membership]
    member_groups = tuple(g for g, is_member in zip(groups, membership, strict=True) if is_member)

    def correlation(chosen: Int[np.ndarray, " chosen"]) -> float:
        return rank_correlation(member_scores[chosen], gains[chosen]) or 0.0

    return Estimate(*jackknife(correlation, member_groups, low=-1.0, high=1.0), members=len(gains))
