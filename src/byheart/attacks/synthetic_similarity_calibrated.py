"""Synthetic similarity, calibrated: how much more similar a record is to generated texts than to texts that another model generated.

Matthieu Meeus, Lukas Wutschitz, Santiago Zanella-Beguelin, Shruti Tople, Reza Shokri. The Canary's Echo: Auditing Privacy Risks of
LLM-Generated Synthetic Text. ICML, 2025. arXiv 2502.14921.

    score(x) = S_generated(x) - S_reference(x)

S is the score of `synthetic_similarity`. With fewer than k texts on one side, both sides use as many as the smaller one has. In an audit
of generated texts the reference texts are a file; otherwise the base model generates them. The larger side has the larger similarities, so
both should have about as many texts; the ranks of records change little otherwise.

Departures from the paper:

- Its reference models are fine-tuned on other records, and the score is divided by the mean score on their texts, as in RMIA. Ours
  needs one set of texts and subtracts: a ratio diverges for a record that shares no word with the reference texts.
- The departures of `synthetic_similarity`.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.attacks._synthetic import mean_top_similarity
from byheart.core import Scores, SyntheticTexts, Texts

VARIANT = "one set of reference texts in place of reference models of other records; a difference in place of a ratio"


def synthetic_similarity_calibrated(
    synthetic_texts: SyntheticTexts,
    synthetic_texts_base: SyntheticTexts,
    texts: Texts,
    *,
    k: Annotated[int, Ge(1)] = 25,
    n: Annotated[int, Ge(1)] = 1,
) -> Scores:
    """Similarity with generated texts minus similarity with reference texts (-1 to 1); higher means member."""
    sides = [s.generated for s in (synthetic_texts, synthetic_texts_base)]
    top = min(k, *map(len, sides))
    generated, reference = (mean_top_similarity(texts.scored, side, n=n, k=top) for side in sides)
    return generated - reference
