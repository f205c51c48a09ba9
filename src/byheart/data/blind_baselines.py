"""Blind classifiers: they separate members from non-members by the texts alone, without the model.

Debeshee Das, Jie Zhang, Florian Tramèr. Blind Baselines Beat Membership Inference Attacks for Foundation Models.
arXiv 2406.16201: on WikiMIA a bag of words reaches an AUC of 0.99, more than any attack. If a blind classifier's AUC is
above 0.5, an attack's AUC is no evidence of training.

Departs from the paper: one ridge classifier each on words, on character 2- to 4-grams (both TF-IDF, which uses no labels)
and on ranks of surface features. Every score is out of fold. The five folds contain whole groups, so no text is predicted
from its own group, and the cross-validation is repeated three times. Scores of different folds have different scales, so a
score is its rank within its fold, averaged over the repeats.

The p-value is from a permutation test, because the tested texts also train the classifiers. An interval for a fixed
classifier ignores that: DeLong's interval raised a false alarm for 12 to 16 % of fair splits. The labels are permuted by
whole groups and the same classifiers are trained again. The p-value is the share of permutations with at least the same
statistic (E. Pitman, Supplement to the Journal of the Royal Statistical Society 4 (1937) 119-130). So the folds must not
depend on labels. Ridge regression is chosen because its out-of-fold scores are linear in the labels: all permutations cost
one inverse (with G = (K + I + c)^-1, c the variance of the
intercept, the fold B's are y_B - G_BB^-1 (G y)_B, as for leaving one out: D. Allen, Technometrics 16 (1974) 125-127).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.errors import DataError
from byheart.core.types import Scores
from byheart.data.blind_features import CLASSIFIER_FEATURES, FoldAssignments
from byheart.stats.intervals import group_indices, t_critical_value
from byheart.stats.roc_auc import auc_interval, independent_pairs

FOLDS = 5
CV_REPEATS = 3
PERMUTATIONS = 999
INTERCEPT_VARIANCE = 1e3
"""Prior variance of the intercept, in units of the features' penalty: large, so the intercept is practically not penalized."""
MIN_GROUPS_FOR_SPLIT_CHECK = 2 * FOLDS
"""Minimum number of groups per class for cross-validation: two in every fold."""


class BlindClassifierResult(NamedTuple):
    """One blind classifier's out-of-fold AUC (higher: members and non-members are easier to separate), with 95 % interval.

    `p_chance` is the p-value against an AUC of 0.5, `p_bound` against the bound. Both are small if the AUC is above.
    """

    name: str
    auc: float
    low: float
    high: float
    p_chance: float
    p_bound: float


def blind_classifier_results(
    texts: Sequence[str], label_rows: Bool[np.ndarray, "labels texts"], groups: tuple[str, ...], *, bound: float
) -> tuple[BlindClassifierResult, ...]:
    """Return the result of every blind classifier. The first row of labels is the true one, the others are permutations."""
    rng = np.random.default_rng(0)
    fold_assignments = [_fold_assignment(groups, rng) for _ in range(CV_REPEATS)]
    results: list[BlindClassifierResult] = []
    for name, features in CLASSIFIER_FEATURES.items():
        scores = out_of_fold_scores(features(texts, fold_assignments), label_rows, fold_assignments)
        label_aucs = aucs(scores, label_rows)
        results.append(_blind_classifier_result(name, scores[0], label_rows[0], groups, label_aucs, bound))
    return tuple(results)


def permuted_labels(
    membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...], *, count: int = PERMUTATIONS
) -> Bool[np.ndarray, "labels texts"]:
    """Return the true labels, then `count` permutations of the labels of whole groups.

    Raises `DataError` if members or non-members have fewer than ten groups.
    """
    for in_class, kind in ((membership, "members"), (~membership, "non-members")):
        group_count = len({group for group, is_in_class in zip(groups, in_class, strict=True) if is_in_class})
        if group_count < MIN_GROUPS_FOR_SPLIT_CHECK:
            raise DataError(
                f"split check: {int(in_class.sum())} {kind} of {group_count} groups are too few for cross-validation. "
                f"Pass at least {MIN_GROUPS_FOR_SPLIT_CHECK} groups each of members and non-members."
            )
    # A group with both members and non-members is permuted as two groups, one of each class.
    unit = 2 * group_indices(groups) + membership
    first, unit = np.unique(unit, return_index=True, return_inverse=True)[1:]
    unit_labels = membership[first]
    rng = np.random.default_rng(0)
    return np.array([membership, *(rng.permutation(unit_labels)[unit] for _ in range(count))])


def p_value(statistics: Float[np.ndarray, " labels"]) -> float:
    """Share of label rows with a statistic of at least the first row's, which is that of the true labels."""
    return float((statistics >= statistics[0] - 1e-12).mean())


def aucs(
    scores: Float[np.ndarray, "labels texts"], label_rows: Bool[np.ndarray, "labels texts"]
) -> Float[np.ndarray, " labels"]:
    """AUC of each row of scores for its row of labels; ties count half."""
    from scipy.stats import rankdata

    members = label_rows.sum(axis=1)
    ranks = np.where(label_rows, rankdata(scores, axis=1), 0).sum(axis=1)
    return (ranks / members - (members + 1) / 2) / (label_rows.shape[1] - members)


def out_of_fold_scores(
    features: Any, label_rows: Bool[np.ndarray, "labels texts"], fold_assignments: FoldAssignments
) -> Float[np.ndarray, "labels texts"]:
    """Out-of-fold ridge score of each text, as its rank within its fold (0 to 1), averaged over the fold assignments.

    The intercept is trained with the weights, on the other folds only. Labels centered over all texts would tell the
    classifier which class prevails in the fold that it predicts: texts of a large group, which dominate the mean of their
    fold, would then be recognized without any difference between the classes.
    """
    from scipy.stats import rankdata

    product = features @ features.T
    kernel = np.asarray(product.toarray() if hasattr(product, "toarray") else product)
    kernel = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
    inverse = np.linalg.inv(kernel + np.eye(len(kernel)) + INTERCEPT_VARIANCE)
    labels = label_rows.T.astype(np.float64)  # (texts, labels)
    inverse_labels = inverse @ labels
    total = np.zeros_like(labels)
    for fold in fold_assignments:
        for number in range(FOLDS):
            held_out = np.flatnonzero(fold == number)
            scores = labels[held_out] - np.linalg.solve(inverse[np.ix_(held_out, held_out)], inverse_labels[held_out])
            # Rounded, so that equal texts tie despite floating-point errors.
            total[held_out] += (rankdata(scores.round(9), axis=0) - 0.5) / len(held_out)
    return (total / len(fold_assignments)).round(9).T


def _fold_assignment(groups: tuple[str, ...], rng: np.random.Generator) -> Int[np.ndarray, " texts"]:
    """Fold number of each text. Folds contain whole groups and about the same number of texts."""
    group = group_indices(groups)
    sizes = np.bincount(group)
    order = rng.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order] / 2  # number of texts up to the middle of the group
    fold = np.empty(len(sizes), dtype=np.intp)
    fold[order] = np.minimum(FOLDS * before // len(group), FOLDS - 1)
    return fold[group]


def _blind_classifier_result(
    name: str,
    scores: Scores,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    label_aucs: Float[np.ndarray, " labels"],
    bound: float,
) -> BlindClassifierResult:
    """Return the AUC with DeLong's interval, or with a wider one if the AUCs of permuted labels spread more."""
    from scipy.special import expit, logit, ndtr

    value, (low, high) = auc_interval(scores, membership, groups)
    if not 0 < value < 1:
        divergence = math.log(1 / bound) if value == 1 else 0.0
        p_bound = math.exp(-independent_pairs(membership, groups) * divergence)
        return BlindClassifierResult(name, value, low, high, p_value(label_aucs), p_bound)
    critical = t_critical_value(math.inf)
    # On the logit scale: its slope is 4 at 0.5, around which the AUCs of permuted labels lie.
    standard_error = max(float(logit(high) - logit(low)) / 2 / critical, 4 * float(np.std(label_aucs[1:])))
    low, high = (float(expit(logit(value) + sign * critical * standard_error)) for sign in (-1, 1))
    p_bound = float(ndtr((logit(bound) - logit(value)) / standard_error))
    return BlindClassifierResult(name, value, low, high, p_value(label_aucs), p_bound)
