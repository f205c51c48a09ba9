"""Pool one method's training seeds, or give several attacks simultaneous intervals.

The table `seeds` uses the first two; users may use all. docs/statistics.md shows by simulation what the intervals are worth.
Training seeds and texts are separate sources of variance. Seeds share their texts, so their intervals are not independent,
and the range over seeds does not include the sampling error of the texts.

- From numbers (`pool_seed_estimates`): the margins of texts and of seeds are added in squares (Guang Yong Zou, Allan Donner,
  Statistics in Medicine 27 (2008) 1693-1702). This assumes the worst case, that texts affect every seed alike. With two or
  three seeds, Student's t extends 9 or 2.5 standard deviations.
- From scores (`auc_over_seeds`): the same, but with the variance that texts contribute to the seeds' mean, and with the
  variance that texts explain subtracted from the seeds' variance (A. Colin Cameron, Jonah Gelbach, Douglas Miller, Robust
  Inference with Multiway Clustering, Journal of Business & Economic Statistics 29 (2011) 238-249). F. Satterthwaite's
  degrees of freedom for the sum of both variances were tried: with three seeds they cover in 92 % of simulated studies
  instead of 95 %.
- Several attacks (`joint_auc_intervals`): the best attack is selected by the data that report it, so the intervals must be
  simultaneous. Each gets a share of the 5 % error (Bonferroni), or more if the attacks are correlated (Torsten Hothorn,
  Frank Bretz, Peter Westfall, Simultaneous Inference in General Parametric Models, Biometrical Journal 50 (2008) 346-363,
  section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.types import Estimate
from byheart.stats.intervals import TAIL, hoeffding, logit_interval, t_critical_value
from byheart.stats.roc_auc import auc_interval, independent_pairs, placement_variance, placements

MONTE_CARLO_DRAWS = 20_000  # samples of the attacks' joint distribution; the 5 % error is then accurate to 0.2 %


def pool_seed_estimates(
    estimates: Sequence[Estimate], *, tests: int = 1, within: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Mean of the seeds' estimates, in their unit, with an interval for other texts and other seeds.

    `tests` is the number of simultaneous intervals, such as those of several attacks of which the best is reported. `within`
    is the range of possible values, to which the ends are clipped. With one seed, the interval covers other texts only. The
    ends are None if a seed has none.
    """
    values = np.array([e.value for e in estimates])
    members, nonmembers = estimates[0].members, estimates[0].nonmembers
    value, tail = float(values.mean()), TAIL / tests
    ends = [(e.value - e.low, e.high - e.value) for e in estimates if e.low is not None and e.high is not None]
    if len(ends) < len(estimates):
        return Estimate(value, None, None, members, nonmembers)
    seed_margin = 0.0
    if len(estimates) > 1:
        standard_error = float(values.std(ddof=1)) / math.sqrt(len(values))
        seed_margin = t_critical_value(float(len(values) - 1), tail=tail) * standard_error
    widening = t_critical_value(math.inf, tail=tail) / t_critical_value(math.inf)
    text_margins = np.sqrt(np.square(ends).mean(axis=0))
    below, above = (math.hypot(widening * float(margin), seed_margin) for margin in text_margins)
    return Estimate(value, max(within[0], value - below), min(within[1], value + above), members, nonmembers)


def auc_over_seeds(
    scores: Float[np.ndarray, "seeds texts"],
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    *,
    tail: float = TAIL,
) -> tuple[float, tuple[float, float]]:
    """Mean AUC of the seeds on the same texts (0.5 is chance), with an interval for other texts and other seeds.

    `auc_interval` for one seed. Hoeffding's bound if the texts' variance is zero. Raises as `member_and_nonmember_scores`
    does.
    """
    if len(scores) == 1:
        return auc_interval(scores[0], membership, groups, tail=tail)
    placement_values = np.array([placements(seed_scores, membership) for seed_scores in scores])
    mean_placements = placement_values.mean(axis=0)
    value = float(mean_placements[membership].mean())
    texts = placement_variance(mean_placements, membership, groups)
    if texts.variance == 0 or not 0 < value < 1:
        return value, hoeffding(value, independent_pairs(membership, groups), tail=tail)
    seed_error = math.sqrt(_seed_variance(placement_values, membership, groups))
    seed_margin = t_critical_value(float(len(scores) - 1), tail=tail) * seed_error
    text_margin = t_critical_value(texts.degrees_of_freedom, tail=tail) * math.sqrt(texts.variance)
    return value, logit_interval(value, math.hypot(text_margin, seed_margin))


def _seed_variance(
    placement_values: Float[np.ndarray, "seeds texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> float:
    """Variance that the seeds contribute to the mean AUC: the variance over seeds that texts do not explain, at least 0.

    With two seeds, the two sources cannot be separated, so nothing is subtracted.
    """
    seeds = len(placement_values)
    aucs = placement_values[:, membership].mean(axis=1)
    mean_placements = placement_values.mean(axis=0)
    if seeds == 2:  # noqa: PLR2004 - the minimum
        return float(aucs.var(ddof=1)) / seeds
    explained = sum(
        placement_variance(seed_placements - mean_placements, membership, groups).variance
        for seed_placements in placement_values
    )
    return max(0.0, float(aucs.var(ddof=1)) / seeds - explained / (seeds * (seeds - 1)))


def joint_auc_intervals(
    scores: Float[np.ndarray, "attacks texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> list[tuple[float, tuple[float, float]]]:
    """AUC of each attack on the same texts, with simultaneous intervals, so that the best attack may be reported."""
    tail = joint_tail(scores, membership, groups)
    return [auc_interval(attack_scores, membership, groups, tail=tail) for attack_scores in scores]


def joint_tail(
    scores: Float[np.ndarray, "attacks texts"], membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...]
) -> float:
    """Error (a probability) of each attack's interval at each end, for which all intervals hold in 95 % of studies.

    `TAIL` if all attacks rank the texts alike, about `TAIL` divided by their number if they are independent.
    """
    from scipy.special import ndtr

    attacks = len(scores)
    placement_values = [placements(attack_scores, membership) for attack_scores in scores]
    variances = [placement_variance(p, membership, groups).variance for p in placement_values]
    correlation = np.eye(attacks)
    for i, j in zip(*np.triu_indices(attacks, 1), strict=True):
        if variances[i] and variances[j]:
            differences = placement_values[i] - placement_values[j]
            covariance = (
                variances[i] + variances[j] - placement_variance(differences, membership, groups).variance
            ) / 2
            correlation[i, j] = correlation[j, i] = covariance / math.sqrt(variances[i] * variances[j])
    eigenvalues, eigenvectors = np.linalg.eigh(correlation)
    normals = np.random.default_rng(0).normal(size=(MONTE_CARLO_DRAWS, attacks))
    samples = (normals * np.sqrt(np.maximum(eigenvalues, 0.0))) @ eigenvectors.T
    critical_value = float(np.quantile(np.abs(samples).max(axis=1), 1 - 2 * TAIL))
    return min(TAIL, max(TAIL / attacks, float(ndtr(-critical_value))))
