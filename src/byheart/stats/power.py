"""Statistical power: the smallest AUC and TPR that a number of texts can distinguish from chance.

- AUC: G. Noether, Journal of the American Statistical Association 82 (1987) 645-647, for the Wilcoxon test:
  AUC = 1/2 + (z_0.975 + z_0.8) * sqrt((m + n + 1) / (12 m n)).
- TPR at a fixed FPR: the threshold has `allowed` non-members above it. Under the null hypothesis the number of members above
  it follows the negative hypergeometric distribution, exactly and for any scores. The critical number of members is its
  upper 2.5 % point. The power at a true TPR is averaged over the distribution of the realized FPR, a
  Beta(allowed + 1, n - allowed), along the ROC curve of two normals of equal variance that passes through the TPR.

Both assume independent texts. Kish's effective number of texts is the worst case for texts that share groups.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from byheart.stats.intervals import TAIL
from byheart.stats.roc_auc import allowed_false_positives

POWER = 0.8


def effective_text_count(groups: Sequence[str]) -> float:
    """Kish's effective number of texts, in the worst case that a whole group carries no more information than one text."""
    sizes = np.array(list(Counter(groups).values()), dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes @ sizes))


def detectable_auc(members: float, nonmembers: float, *, tests: int = 1) -> float:
    """Smallest AUC that is detected with 80 % power: its 95 % interval lies above 0.5. 1 if there is no such AUC.

    With several tests, the intervals are simultaneous: each has an error of 0.05 / tests.
    """
    from scipy.special import ndtri

    spread = math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))
    return min(1.0, 0.5 + float(ndtri(1 - TAIL / tests) + ndtri(POWER)) * spread)


def detectable_tpr(members: int, nonmembers: int, fpr: float) -> float:
    """Smallest TPR at this FPR that is detected with 80 % power at a two-sided 5 % level. 1 if there is no such TPR.

    Raises `DataError` for fewer than 1 / fpr non-members.
    """
    allowed = allowed_false_positives(nonmembers, fpr)
    critical = _critical_member_count(members, nonmembers, allowed)
    low, high = fpr, 1.0 - 1e-9
    if _power(high, critical, members, nonmembers, allowed, fpr) < POWER:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        is_detected = _power(middle, critical, members, nonmembers, allowed, fpr) >= POWER
        low, high = (low, middle) if is_detected else (middle, high)
    return high


def _critical_member_count(members: int, nonmembers: int, allowed: int) -> int:
    """Smallest number of members above the threshold that occurs by chance with probability at most 2.5 %."""
    from scipy.stats import nhypergeom

    counts = np.arange(members + 2)
    # Counts the members that rank above non-member number allowed + 1.
    tail_probabilities = nhypergeom.sf(counts - 1, members + nonmembers, members, allowed + 1)
    return int(counts[tail_probabilities <= TAIL].min())


def _power(tpr: float, critical: int, members: int, nonmembers: int, allowed: int, fpr: float) -> float:
    from scipy.special import bdtrc, betaincinv, ndtr, ndtri

    realized_fprs = betaincinv(allowed + 1, nonmembers - allowed, (np.arange(400) + 0.5) / 400)
    tprs = ndtr(ndtri(realized_fprs) + ndtri(tpr) - ndtri(fpr))
    return float(bdtrc(critical - 1, members, tprs).mean()) if critical <= members else 0.0
