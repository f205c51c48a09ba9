"""AUC: area under the ROC curve, with DeLong's interval, clustered by group.

Elizabeth DeLong, David DeLong, Daniel Clarke-Pearson. Comparing the Areas under Two or More Correlated Receiver
Operating Characteristic Curves: A Nonparametric Approach. Biometrics 44 (1988) 837-845.
Nancy Obuchowski. Nonparametric Analysis of Clustered ROC Curve Data. Biometrics 53 (1997) 567-578.

    AUC = P(member's score > non-member's) + P(equal) / 2

The interval is symmetric in ln(AUC / (1 - AUC)), so it stays inside [0, 1]. Its critical value is Student's t with the degrees of
freedom of the variance estimate: close to 1, a few texts determine the variance. If the scores separate members from non-members
perfectly, or all tie, or one class is a single group, the variance estimate is zero and meaningless. The interval is then
Hoeffding's, which is wider and valid for every distribution.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.types import Estimate, Scores
from byheart.stats.roc_auc import auc_interval

RANGE = (0.0, 1.0)


def auc(scores: Scores, membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]) -> Estimate:
    """Probability (0 to 1) that a member's score is above a non-member's, ties count half; 0.5 is chance, 1 all is leaked.

    Raises `DataError` if there are no members, no non-members, or a score that is not a number.
    """
    value, interval = auc_interval(scores, membership, groups)
    members = int(membership.sum())
    return Estimate(value, *interval, members, len(membership) - members)
