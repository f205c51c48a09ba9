"""Code shared by attacks on generated texts: n-gram counts, and the similarity with the most similar generated texts.

Texts are compared by words without case and punctuation, or by characters where a script writes no spaces (`text_units`), because
whoever has only texts has no tokenizer of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from byheart.core import Scores
from byheart.data.text_units import text_units

START = ""
"""Stands for the beginning of a text; no word is empty."""
MAX_SIMILARITIES = 2_000_000
"""Maximum number of similarities in memory at once (8 bytes each); more audited texts are compared in blocks."""

Gram = tuple[str, ...]


class NgramCounts(NamedTuple):
    """Counts of n-grams and of their contexts in texts, and the distinct words of the texts."""

    grams: Counter[Gram]
    contexts: Counter[Gram]
    words: frozenset[str]


def ngram_counts(texts: Sequence[str], n: int) -> NgramCounts:
    """Count the n-grams of texts; n - 1 marks of the beginning precede each text."""
    units = [text_units(text) for text in texts]
    grams = Counter(gram for words in units for gram in _with_contexts(words, n))
    contexts: Counter[Gram] = Counter()
    for gram, count in grams.items():
        contexts[gram[:-1]] += count
    return NgramCounts(grams, contexts, frozenset(word for words in units for word in words))


def mean_logp(texts: Sequence[str], counts: NgramCounts, n: int, vocabulary: int) -> Scores:
    """Return the mean log-probability (nats per word) of each text under an n-gram model with add-one smoothing."""
    scores = np.empty(len(texts))
    for i, text in enumerate(texts):
        grams = list(_with_contexts(text_units(text), n))
        found = np.array([(counts.grams[gram], counts.contexts[gram[:-1]]) for gram in grams], dtype=np.float64)
        scores[i] = np.log((found[:, 0] + 1) / (found[:, 1] + vocabulary)).mean()
    return scores


def _with_contexts(words: Sequence[str], n: int) -> Iterator[Gram]:
    """Yield each word after its n - 1 preceding words, as one tuple."""
    padded = [START] * (n - 1) + [*words]
    return (tuple(padded[i : i + n]) for i in range(len(words)))


def mean_top_similarity(texts: Sequence[str], generated: Sequence[str], *, n: int, k: int) -> Scores:
    """Return each text's mean Jaccard similarity (0 to 1) with its k most similar generated texts, by their sets of n-grams.

    With fewer than k generated texts, the mean of all of them.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    def gram_set(text: str) -> list[Gram]:
        words = text_units(text)
        return list({tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))})

    analyzer: Any = gram_set
    vectorizer = CountVectorizer(analyzer=analyzer, dtype=np.int64)
    table: Any = vectorizer.fit_transform(generated)
    generated_sizes = np.asarray(table.sum(axis=1)).ravel()
    known: Any = vectorizer.transform(texts)
    sizes = np.array([len(gram_set(text)) for text in texts])  # with the n-grams that no generated text has
    top = min(k, len(generated))
    scores = np.empty(len(texts))
    block = max(1, MAX_SIMILARITIES // len(generated))
    for start in range(0, len(texts), block):
        rows = slice(start, start + block)
        common = (known[rows] @ table.T).toarray()
        similarity = common / (sizes[rows, None] + generated_sizes - common)
        scores[rows] = _mean_of_largest(similarity, top)
    return scores


def _mean_of_largest(values: Float[np.ndarray, "texts generated"], count: int) -> Float[np.ndarray, " texts"]:
    largest = np.partition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :]
    return np.sort(largest, axis=1).mean(axis=1)  # sorted, so that the order of the generated texts changes no bit
