"""Synthetic n-gram, calibrated: the gain in likelihood over an n-gram model of texts that another model generated.

Matthieu Meeus, Lukas Wutschitz, Santiago Zanella-Beguelin, Shruti Tople, Reza Shokri. The Canary's Echo: Auditing Privacy Risks of
LLM-Generated Synthetic Text. ICML, 2025. arXiv 2502.14921.

    score(x) = 1/N sum_j ln P_generated(w_j | c_j) - 1/N sum_j ln P_reference(w_j | c_j)

P is the n-gram model of `synthetic_ngram`, with the vocabulary of both sets of texts for both models. The reference texts show which
words are usual, so that a record of usual words is not mistaken for a member. In an audit of generated texts they are a file; otherwise
the base model generates them.

Departures from the paper:

- Its reference models are fine-tuned on other records, and the score is divided by the mean score on their texts, as in RMIA. Ours
  needs one set of texts and subtracts log-probabilities, which divides probabilities.
- The departures of `synthetic_ngram`.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.attacks._synthetic import mean_logp, ngram_counts
from byheart.core import Scores, SyntheticTexts, Texts

VARIANT = "one set of reference texts in place of reference models of other records"


def synthetic_ngram_calibrated(
    synthetic_texts: SyntheticTexts,
    synthetic_texts_base: SyntheticTexts,
    texts: Texts,
    *,
    n: Annotated[int, Ge(1)] = 2,
) -> Scores:
    """Gain in mean log-probability (nats per word) of an n-gram model over one of reference texts; higher means member."""
    counts, reference = (ngram_counts(s.generated, n) for s in (synthetic_texts, synthetic_texts_base))
    vocabulary = len(counts.words | reference.words) + 1
    return mean_logp(texts.scored, counts, n, vocabulary) - mean_logp(texts.scored, reference, n, vocabulary)
