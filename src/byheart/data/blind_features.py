"""Features of the blind classifiers: what a classifier can read in a text without the model and without labels.

*Predictability* imitates attacks without a reference: their scores are functions of how predictable a text is (its
log-likelihood, its least likely tokens, its compressed size), so a difference in predictability alone gives them an AUC above
0.5. Word probabilities come from the other folds of the audited texts, whole groups left out, so a text is not counted
in its own probability, and all texts are left out of equally many.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

TOKENS = re.compile(r"\w+|[^\w\s]")
"""Words and punctuation marks, so that every text has at least one."""
LEAST_LIKELY_SHARE = 0.2
"""Share of least likely words in the second feature of predictability, as the default k of the attack `min_k`."""

FoldAssignments = Sequence[Int[np.ndarray, " texts"]]


def word_features(texts: Sequence[str], fold_assignments: FoldAssignments) -> Any:
    """TF-IDF of words and punctuation marks."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    del fold_assignments
    return TfidfVectorizer(token_pattern=TOKENS.pattern, sublinear_tf=True).fit_transform(texts)


def character_features(texts: Sequence[str], fold_assignments: FoldAssignments) -> Any:
    """TF-IDF of character 2- to 4-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    del fold_assignments
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)


def text_surface_features(text: str) -> Float[np.ndarray, " features"]:
    """Length in characters and words, shares of character classes, line breaks, and the years in a text."""
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


def surface_features(texts: Sequence[str], fold_assignments: FoldAssignments) -> Float[np.ndarray, "texts features"]:
    """Ranks of the features from -1 to 1, which are robust to outliers, and their squares, which separate narrow from wide."""
    del fold_assignments
    ranks = _ranks(np.array([text_surface_features(text) for text in texts]))
    return np.hstack([ranks, ranks**2 - 1 / 3]) / math.sqrt(2 * ranks.shape[1])


def predictability_features(
    texts: Sequence[str], fold_assignments: FoldAssignments
) -> Float[np.ndarray, "texts features"]:
    """Ranks from -1 to 1 of four numbers, each averaged over the fold assignments.

    Mean log-probability of a text's words, mean of the least likely fifth, share of words that the other folds do not have
    (word counts plus one half), and compressed size (zlib) per byte.
    """
    words = [TOKENS.findall(text.lower()) for text in texts]
    vocabulary = {word: i for i, word in enumerate(sorted({word for of_text in words for word in of_text}))}
    ids = [np.array([vocabulary[word] for word in of_text]) for of_text in words]
    total = np.bincount(np.concatenate(ids), minlength=len(vocabulary)).astype(np.float64)
    values = np.zeros((len(texts), 4))
    for fold in fold_assignments:
        for number in np.unique(fold):
            held_out = np.flatnonzero(fold == number)
            counts = total - np.bincount(np.concatenate([ids[i] for i in held_out]), minlength=len(vocabulary))
            log_probabilities = np.log((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))
            for i in held_out:
                logp = np.sort(log_probabilities[ids[i]])
                least = logp[: max(1, int(LEAST_LIKELY_SHARE * len(logp)))]
                values[i, :3] += logp.mean(), least.mean(), (counts[ids[i]] == 0).mean()
    values[:, 3] = [len(zlib.compress(b)) / len(b) for b in (text.encode("utf-8", "surrogatepass") for text in texts)]
    return _ranks(values.round(9)) / math.sqrt(values.shape[1])


def _ranks(values: Float[np.ndarray, "texts features"]) -> Float[np.ndarray, "texts features"]:
    """Rank of each value in its column, from -1 to 1."""
    from scipy.stats import rankdata

    return 2 * (rankdata(values, axis=0) - 0.5) / len(values) - 1


CLASSIFIER_FEATURES: dict[str, Callable[[Sequence[str], FoldAssignments], Any]] = {
    "words": word_features,
    "character n-grams": character_features,
    "length and surface": surface_features,
    "predictability": predictability_features,
}
"""Features of each blind classifier, by name."""
