"""Power of the test that attacks are weak: the probability that upper ends lie below a bound, and the texts that it takes.

The test (`byheart.auditing.pass_bounds`): the AUC, or the TPR at an FPR, of every attack and of its reversed score has a
95 % interval below the bound. D. Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987) 657-680.

The power here is that for a model at chance, with `attacks` attacks:

- AUC: every attack's AUC is normal around 0.5 with G. Noether's variance (Journal of the American Statistical Association 82
  (1987) 645-647). Passing is the event that all lie in intervals around 0.5. For any correlation of the attacks its probability is
  at least the product over attacks (Z. Sidak, Journal of the American Statistical Association 62 (1967) 626-633), which is returned.
- TPR at an FPR: the counts of members above the threshold and above the laxest plausible threshold are drawn with a fixed
  seed; their distribution is exact for any continuous scores. The product over attacks and directions is returned.

Both assume independent texts. Kish's effective number of texts is the worst case for texts that share groups.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from byheart.stats.intervals import TAIL
from byheart.stats.power import POWER
from byheart.stats.proportions import mid_p, mid_p_cdf

DRAWS = 4000
MARGINS = 200
"""Maximum number of counts at which the margin of a proportion is computed; between them it is interpolated."""
MAX_TEXTS = 10_000_000
"""Largest number of texts per class that a search considers."""


def auc_pass_power(members: float, nonmembers: float, bound: float, *, attacks: int = 1) -> float:
    """Probability (0 to 1) that attacks with an AUC of 0.5 are shown to have an AUC below `bound`; higher is better."""
    from scipy.special import ndtr, ndtri

    error = math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))
    return max(0.0, 2 * float(ndtr((bound - 0.5) / error + ndtri(TAIL))) - 1) ** attacks


@functools.lru_cache(maxsize=64)
def tpr_pass_power(members: float, nonmembers: float, bound: float, *, fpr: float, attacks: int = 1) -> float:
    """Probability that attacks with a TPR equal to the FPR `fpr` are shown to have a TPR below `bound`; higher is better.

    0 for fewer than 1 / fpr non-members, which cannot realize the rate.
    """
    members, nonmembers = math.floor(members), math.floor(nonmembers)
    strict_rank = math.floor(fpr * nonmembers + 1e-9) + 1
    if strict_rank < 2 or members < 1:  # noqa: PLR2004 - the first rank allows no false positive
        return 0.0
    lax_rank = _lax_rank(nonmembers, fpr)
    generator = np.random.default_rng(0)
    # Shares of the population above the two thresholds: order statistics of uniform numbers.
    share = generator.beta(strict_rank, nonmembers - strict_rank + 1, DRAWS)
    found = generator.binomial(members, share)
    if lax_rank > nonmembers:
        more = members - found
    else:
        between = generator.beta(lax_rank - strict_rank, nonmembers - lax_rank + 1, DRAWS)
        more = generator.binomial(members - found, between)
    counts = np.unique(np.linspace(found.min(), found.max(), MARGINS).round())
    margins = np.interp(found, counts, [mid_p(n, float(members))[1] - n / members for n in counts.tolist()])
    upper_ends = found / members + np.hypot(margins, more / members)
    return float((upper_ends < bound).mean()) ** (2 * attacks)


def _lax_rank(nonmembers: int, fpr: float) -> int:
    """Return the rank from the top of the laxest threshold whose population FPR may be `fpr`, as in `tpr_at_fpr`."""
    possible, impossible = 0, nonmembers + 1
    while impossible - possible > 1:
        rank = (possible + impossible) // 2
        is_possible = 1 - float(mid_p_cdf(float(rank), float(nonmembers), fpr)) >= TAIL
        possible, impossible = (rank, impossible) if is_possible else (possible, rank)
    return possible + 1


def texts_to_pass(power: Callable[[int], float]) -> int | None:
    """Smallest number of texts per class with a power of at least 80 %, rounded up to two digits; None above 10 million."""
    few, many = 0, 20
    while power(many) < POWER:
        few, many = many, 2 * many
        if many > MAX_TEXTS:
            return None
    while many - few > max(1, many // 200):
        middle = (few + many) // 2
        few, many = (few, middle) if power(middle) >= POWER else (middle, many)
    step = 10 ** max(0, math.floor(math.log10(many)) - 1)
    return -(-many // step) * step
