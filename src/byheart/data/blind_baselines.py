"""Can members be told from non-members without the model? Classifiers that see texts and labels only.

Debeshee Das, Jie Zhang, Florian Tramèr. Blind Baselines Beat Membership Inference Attacks for Foundation Models.
arXiv 2406.16201: on WikiMIA a bag of words reaches an AUC of 0.99, more than any attack. Where a blind classifier is
above one half, an attack's AUC says nothing of training.

Ours: a ridge classifier each on words, on character 2- to 4-grams (both TF-IDF, which sees no label) and on the ranks
of surface features. Every score is out of fold: five folds of whole groups, so that no text is known by its neighbours,
dealt three times. Folds' scores have different scales, so a score is its rank within its fold, averaged over the deals.

What such an AUC is by chance no interval for one fixed classifier tells: the texts that are judged also taught, and
DeLong's interval raised a false alarm for 12 to 16 % of fair splits. So the labels are dealt anew, by whole groups, and
the same classifiers are taught again: the p-value is the share of deals that do as well (E. Pitman, Supplement to the
Journal of the Royal Statistical Society 4 (1937) 119-130). Folds are therefore dealt blind to labels, and ridge is
chosen because its out-of-fold scores are linear in the labels: all deals cost one inverse (with G = (K + I)^-1, the
fold B's are y_B - G_BB^-1 (G y)_B, as for leaving one out: D. Allen, Technometrics 16 (1974) 125-127).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from byheart.core.errors import DataError
from byheart.core.types import Scores
from byheart.stats.intervals import group_indices, t_critical_value
from byheart.stats.roc_auc import auc_interval, independent_pairs

FOLDS = 5
CV_REPEATS = 3
PERMUTATIONS = 999
MIN_GROUPS_PER_CLASS = 2 * FOLDS
"""Groups a side that cross-validation needs: two in every fold."""


class BlindClassifierResult(NamedTuple):
    """One blind classifier's out-of-fold AUC (higher: easier to tell apart), its 95 % interval and p-values.

    `p_chance` is of 0.5, `p_bound` of the bound asked for; small where the AUC lies above.
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
    """Every blind classifier, taught and tried on each row of labels; the first row is the true one."""
    chance = np.random.default_rng(0)
    deals = [_fold_assignment(groups, chance) for _ in range(CV_REPEATS)]
    found: list[BlindClassifierResult] = []
    for name, features in CLASSIFIER_FEATURES.items():
        scores = out_of_fold_scores(features(texts), label_rows, deals)
        chances = aucs(scores, label_rows)
        found.append(_blind_classifier_result(name, scores[0], label_rows[0], groups, chances, bound))
    return tuple(found)


def permuted_labels(
    membership: Bool[np.ndarray, " texts"], groups: tuple[str, ...], *, count: int = PERMUTATIONS
) -> Bool[np.ndarray, "labels texts"]:
    """Give the true labels, then `count` times those that whole groups would have had by another deal.

    Raises `DataError` where members or non-members are of fewer than ten groups.
    """
    for side, kind in ((membership, "members"), (~membership, "non-members")):
        there = len({group for group, on_it in zip(groups, side, strict=True) if on_it})
        if there < MIN_GROUPS_PER_CLASS:
            told = f"{int(side.sum())} {kind} of {there} groups"
            raise DataError(f"{told} are too few to cross-validate; give {MIN_GROUPS_PER_CLASS} groups or more of each")
    # A group that is on both sides is dealt as two, one from each.
    unit = 2 * group_indices(groups) + membership
    first, unit = np.unique(unit, return_index=True, return_inverse=True)[1:]
    sides = membership[first]
    chance = np.random.default_rng(0)
    return np.array([membership, *(chance.permutation(sides)[unit] for _ in range(count))])


def p_value(statistics: Float[np.ndarray, " labels"]) -> float:
    """Share of all deals of labels whose statistic is at least the first one, which is the true labels'."""
    return float((statistics >= statistics[0] - 1e-12).mean())


def aucs(
    scores: Float[np.ndarray, "labels texts"], label_rows: Bool[np.ndarray, "labels texts"]
) -> Float[np.ndarray, " labels"]:
    """AUC of each row of scores for its row of labels, ties counting half."""
    from scipy.stats import rankdata

    members = label_rows.sum(axis=1)
    ranks = np.where(label_rows, rankdata(scores, axis=1), 0).sum(axis=1)
    return (ranks / members - (members + 1) / 2) / (label_rows.shape[1] - members)


def out_of_fold_scores(
    features: Any, label_rows: Bool[np.ndarray, "labels texts"], fold_assignments: Sequence[Int[np.ndarray, " texts"]]
) -> Float[np.ndarray, "labels texts"]:
    """Rank within its fold (0 to 1) that ridge taught on the other folds gives each text, averaged over the deals."""
    from scipy.stats import rankdata

    product = features @ features.T
    alike = np.asarray(product.toarray() if hasattr(product, "toarray") else product)
    alike = alike - alike.mean(axis=0) - alike.mean(axis=1)[:, None] + alike.mean()
    inverse = np.linalg.inv(alike + np.eye(len(alike)))
    labels = label_rows.T - label_rows.mean(axis=1)  # (texts, labels)
    known = inverse @ labels
    total = np.zeros_like(labels)
    for fold in fold_assignments:
        for number in range(FOLDS):
            out = np.flatnonzero(fold == number)
            scores = labels[out] - np.linalg.solve(inverse[np.ix_(out, out)], known[out])
            # Rounded, so that equal texts tie in spite of the last digit.
            total[out] += (rankdata(scores.round(9), axis=0) - 0.5) / len(out)
    return (total / len(fold_assignments)).round(9).T


def _fold_assignment(groups: tuple[str, ...], rng: np.random.Generator) -> Int[np.ndarray, " texts"]:
    """Number of the fold that each text is left out with: whole groups, about as many texts in each fold."""
    group = group_indices(groups)
    sizes = np.bincount(group)
    order = rng.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order] / 2  # texts up to the group's middle
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
    """DeLong's interval, made as wide as the deals of labels say that it is by chance where they say wider."""
    from scipy.special import expit, logit, ndtr

    value, (low, high) = auc_interval(scores, membership, groups)
    if not 0 < value < 1:
        divergence = math.log(1 / bound) if value == 1 else 0.0
        p_bound = math.exp(-independent_pairs(membership, groups) * divergence)
        return BlindClassifierResult(name, value, low, high, p_value(label_aucs), p_bound)
    reach = t_critical_value(math.inf)
    # On the logit scale, whose slope is 4 at one half, where the deals' AUCs lie.
    spread = max(float(logit(high) - logit(low)) / 2 / reach, 4 * float(np.std(label_aucs[1:])))
    low, high = (float(expit(logit(value) + sign * reach * spread)) for sign in (-1, 1))
    return BlindClassifierResult(
        name, value, low, high, p_value(label_aucs), float(ndtr((logit(bound) - logit(value)) / spread))
    )


def _word_features(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Marks count as words, so that no text is without one.
    return TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", sublinear_tf=True).fit_transform(texts)  # noqa: S106 - no password


def _character_features(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)


def text_surface_features(text: str) -> Float[np.ndarray, " features"]:
    """Length in characters and words, shares of kinds of characters, line breaks, and the years that a text names."""
    words = text.split()
    years = [int(y) for y in re.findall(r"(?<!\d)(?:1\d|20)\d\d(?!\d)", text)]
    counts = [sum(map(kind, text)) for kind in (str.isdigit, str.isupper, str.isspace, str.isalpha, str.isascii)]
    marks = len(text) - counts[0] - counts[2] - counts[3]
    return np.array(
        [
            len(text),
            len(words),
            len(text) / len(words),
            *(count / len(text) for count in (*counts, marks)),
            text.count("\n"),
            len(years),
            max(years, default=0),
            min(years, default=0),
            text[-1] in ".!?",
        ],
        dtype=np.float64,
    )


def _surface_features(texts: Sequence[str]) -> Float[np.ndarray, "texts features"]:
    """Ranks of the features from -1 to 1, which no outlier stretches, and their squares, which tell narrow from wide."""
    from scipy.stats import rankdata

    values = np.array([text_surface_features(text) for text in texts])
    ranks = 2 * (rankdata(values, axis=0) - 0.5) / len(values) - 1
    return np.hstack([ranks, ranks**2 - 1 / 3]) / math.sqrt(2 * values.shape[1])


CLASSIFIER_FEATURES: dict[str, Callable[[Sequence[str]], Any]] = {
    "words": _word_features,
    "character n-grams": _character_features,
    "length and surface": _surface_features,
}
"""What the blind classifiers look at, by name."""
