"""One-sided tests of leakage: AUC above a bound, AUC gain, AUC above blind classifiers, and the correction over attacks and evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from byheart.core.split_check import Finding
from byheart.core.types import Scores
from byheart.stats.intervals import TAIL, hoeffding, holm_by_name, t_critical_value
from byheart.stats.roc_auc import auc_difference, auc_p_value, independent_pairs, placement_variance, placements

ALPHA = 0.05
"""Probability of any false alarm in one run."""


CHANCE_AUC = 0.5


MAX_Z = 8.0
"""Largest normal quantile of a p-value, 6e-16."""


BLIND_TAIL = 0.2
"""Error of the one-sided comparison of an attack with one blind classifier.

It is larger than that of other tests, because the comparison is conservative: an attack must exceed every classifier, their
intervals include training, and the covariance with the attack is left out although texts that are easy for one are easy for
the other. In 60 simulated audits without leakage for each of seven differences between members and non-members, 200 records
per class, at most one was called a leak. With 0.025, a real leak of AUC 0.62 is shown in 30 % of such audits instead of 73 %.
"""


MIN_GROUPS_FOR_VERDICT = 20
"""Minimum number of groups per class for a verdict: 20 and 20 texts can detect an AUC of 0.76 in a single evaluation."""


class RecordLabels(NamedTuple):
    """Membership and group of each audited text."""

    membership: Bool[np.ndarray, " texts"]
    groups: tuple[str, ...]

    @property
    def has_enough_groups(self) -> bool:
        """Whether each class has enough groups for a verdict."""
        classes = (self.membership, ~self.membership)
        return (
            min(
                len({g for g, is_in_class in zip(self.groups, in_class, strict=True) if is_in_class})
                for in_class in classes
            )
            >= MIN_GROUPS_FOR_VERDICT
        )


def negated(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    """Return each attack's scores with the opposite sign; their AUC is one minus the AUC of the scores."""
    return {name: -s for name, s in scores.items()}


def p_value_auc_above(scores: Scores, labels: RecordLabels, bound: float) -> float:
    """One-sided p-value of the null hypothesis that the AUC is at most `bound` (above 0, below 1); lower means leakage."""
    return auc_p_value(scores, *labels, bound)


def p_value_auc_gain(now: Scores, before: Scores, labels: RecordLabels) -> float:
    """One-sided p-value of the null hypothesis that the AUC has not risen on the same texts (DeLong's paired test)."""
    difference = auc_difference(now, before, *labels)
    return difference.p_value / 2 if difference.value > 0 else 1 - difference.p_value / 2


def p_value_auc_above_blind(scores: Scores, labels: RecordLabels, blind: Finding) -> float:
    """One-sided p-value of the null hypothesis that the AUC is at most a blind classifier's true AUC; lower means leakage.

    Compares the logits of the two AUCs. Their variances are added: the classifier's comes from its interval, which includes
    that it is trained on the same texts, so no paired variance is valid for it. If the attack's variance is zero, the lower
    end of Hoeffding's bound and the classifier's upper end are combined instead (square-and-add: G. Zou and A. Donner,
    Statistics in Medicine 27 (2008) 1693-1702).
    """
    from scipy.special import expit, logit, ndtr, stdtr

    low, high = (blind.value if end is None else end for end in (blind.low, blind.high))
    low, center, high = logit(np.clip((low, blind.value, high), 1e-9, 1 - 1e-9))
    placement_values = placements(scores, labels.membership)
    value = float(placement_values[labels.membership].mean())
    estimate = placement_variance(placement_values, *labels)
    if value <= blind.value:
        return 1.0
    blind_error = (high - low) / 2 / t_critical_value(math.inf)
    if estimate.variance == 0 or value == 1:
        pairs = independent_pairs(*labels)

        def is_above(z: float) -> bool:
            lower_margin = value - hoeffding(value, pairs, tail=float(ndtr(-z)))[0]
            return value - blind.value > math.hypot(lower_margin, float(expit(center + z * blind_error)) - blind.value)

        least, most = 0.0, MAX_Z
        for _ in range(40):
            middle = (least + most) / 2
            least, most = (middle, most) if is_above(middle) else (least, middle)
        return float(ndtr(-least))
    variance = estimate.variance / (value * (1 - value)) ** 2
    # Satterthwaite's degrees of freedom of the sum; the classifier's variance counts as known.
    degrees_of_freedom = estimate.degrees_of_freedom * (1 + blind_error**2 / variance) ** 2
    return float(stdtr(degrees_of_freedom, (center - logit(value)) / math.sqrt(variance + blind_error**2)))


class BlindComparison(NamedTuple):
    """The blind classifier that an attack exceeds with the least certainty, and the p-value that it exceeds all of them.

    The p-value is in the units of the other tests of a verdict, see `compare_with_blind`.
    """

    classifier: Finding | None
    p_value: float


def compare_with_blind(
    scores: Scores, labels: RecordLabels, classifiers: Sequence[Finding], *, error: float = TAIL
) -> BlindComparison:
    """Test whether an AUC is above that of every blind classifier: the largest p-value, 0 without a classifier.

    `error` is that of the other tests of the verdict; a p-value of `error` stands for `BLIND_TAIL`.
    Intersection-union test: R. Berger, Technometrics 24 (1982) 295-300.
    """
    comparisons = [
        BlindComparison(c, min(1.0, p_value_auc_above_blind(scores, labels, c) * error / BLIND_TAIL))
        for c in classifiers
    ]
    return max(comparisons, key=lambda c: c.p_value, default=BlindComparison(None, 0.0))


def significant_attacks(
    p_values: Mapping[str, float], evaluation_count: int, *, error: float = ALPHA
) -> tuple[str, ...]:
    """Return the significant attacks, corrected over the attacks of an evaluation (Holm) and the run's evaluations.

    `error` is the probability of any false alarm in the run.
    """
    return tuple(name for name, p in holm_by_name(p_values).items() if p * evaluation_count <= error)
