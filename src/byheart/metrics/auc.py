"""Area under the ROC curve, with DeLong's interval, clustered by group.

Elizabeth DeLong, David DeLong, Daniel Clarke-Pearson. Comparing the Areas under Two or More Correlated Receiver
Operating Characteristic Curves: A Nonparametric Approach. Biometrics 44 (1988) 837-845.
Nancy Obuchowski. Nonparametric Analysis of Clustered ROC Curve Data. Biometrics 53 (1997) 567-578.

    AUC = P(member's score > non-member's) + P(equal) / 2

The interval is symmetric in ln(AUC / (1 - AUC)), so that it stays inside [0, 1], and reaches as far as Student's t with
the degrees of freedom that the variance was estimated with: close to 1, a few texts carry all of it. Where the scores
separate the sides without exception, or all tie, or a side is one group, the variance is zero and says nothing; the
interval is then Hoeffding's, which is wider and holds for every distribution.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate, Scores
from byheart.stats.roc_auc import auc_interval


def auc(scores: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]) -> Estimate:
    """Probability that a member's score is above a non-member's, ties counting half; 0.5 is chance, 1 all is leaked.

    Raises `DataError` where there are no members, no non-members, or a score that is not a number.
    """
    value, interval = auc_interval(scores, membership, groups)
    members = int(membership.sum())
    return Estimate(value, *interval, members, len(membership) - members)
