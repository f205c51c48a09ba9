"""How small a leak can so many texts tell from chance? Before any model is trained.

- AUC: G. Noether, Journal of the American Statistical Association 82 (1987) 645-647, for the Wilcoxon test:
  AUC = 1/2 + (z_0.975 + z_0.8) * sqrt((m + n + 1) / (12 m n)).
- TPR at a stated FPR: the threshold leaves `allowed` non-members above it, so by chance the members above it follow the
  negative hypergeometric distribution, exactly and whatever the scores. The critical number of members is its upper
  2.5 %; what power a true TPR then has is averaged over the threshold's own chance, a Beta(allowed + 1, n - allowed),
  along the ROC curve of two normals of equal spread that passes through the TPR.

Both are for texts that are independent. `effective` texts (Kish) are the worst case for texts that share groups.
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
    """Kish's effective number of texts where a whole group says no more than one text."""
    sizes = np.array(list(Counter(groups).values()), dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes @ sizes))


def detectable_auc(members: float, nonmembers: float, *, tests: int = 1) -> float:
    """Smallest AUC whose 95 % interval lies above one half four times in five; 1 where none does.

    Of several tests the intervals hold all at once, each missing with chance 0.05 / tests.
    """
    from scipy.special import ndtri

    spread = math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))
    return min(1.0, 0.5 + float(ndtri(1 - TAIL / tests) + ndtri(POWER)) * spread)


def detectable_tpr(members: int, nonmembers: int, fpr: float) -> float:
    """Smallest TPR at that FPR which differs from the FPR four times in five at 5 %; 1 where none does.

    Raises `DataError` where there are fewer than 1 / fpr non-members.
    """
    allowed = allowed_false_positives(nonmembers, fpr)
    critical = _critical(members, nonmembers, allowed)
    low, high = fpr, 1.0 - 1e-9
    if _power(high, critical, members, nonmembers, allowed, fpr) < POWER:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        enough = _power(middle, critical, members, nonmembers, allowed, fpr) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _critical(members: int, nonmembers: int, allowed: int) -> int:
    """Fewest members above the threshold that chance gives in at most 2.5 % of all cases."""
    from scipy.stats import nhypergeom

    counts = np.arange(members + 2)
    # Down the ranking, members are met until the non-member after those allowed.
    reached = nhypergeom.sf(counts - 1, members + nonmembers, members, allowed + 1)
    return int(counts[reached <= TAIL].min())


def _power(tpr: float, critical: int, members: int, nonmembers: int, allowed: int, fpr: float) -> float:
    from scipy.special import bdtrc, betaincinv, ndtr, ndtri

    realised = betaincinv(allowed + 1, nonmembers - allowed, (np.arange(400) + 0.5) / 400)
    rates = ndtr(ndtri(realised) + ndtri(tpr) - ndtri(fpr))
    return float(bdtrc(critical - 1, members, rates).mean()) if critical <= members else 0.0
