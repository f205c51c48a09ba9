"""Synthetic n-gram: fits an n-gram model to texts that the target model generated, and scores each record by its likelihood there.

Matthieu Meeus, Lukas Wutschitz, Santiago Zanella-Beguelin, Shruti Tople, Reza Shokri. The Canary's Echo: Auditing Privacy Risks of
LLM-Generated Synthetic Text. ICML, 2025. arXiv 2502.14921.

    P(w_j | c_j) = (C(c_j, w_j) + 1) / (C(c_j) + V)        c_j: the n - 1 words before w_j
    score(x) = 1/N sum_j ln P(w_j | c_j)

C counts runs of words in the generated texts, V is the number of their distinct words, and one more for all other words. Generated
texts repeat runs of words of the records that the model was trained on. The model itself is not needed.

The formulas follow the paper's abstract and public summaries of it; its code is not public.

Departures from the paper:

- Its signal is the probability of the whole record, which falls with the record's length. Ours is the mean per word.
- A word has no case and no punctuation (in scripts without spaces it is a character), because generated texts come without the
  model's tokenizer.
- The first n - 1 words follow marks of the beginning of a text, so every word has a context of n - 1.
- Its reference models are in `synthetic_ngram_calibrated`.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.attacks._synthetic import mean_logp, ngram_counts
from byheart.core import Scores, SyntheticTexts, Texts

VARIANT = "mean per word in place of the record's probability; words in place of tokens"


def synthetic_ngram(synthetic_texts: SyntheticTexts, texts: Texts, *, n: Annotated[int, Ge(1)] = 2) -> Scores:
    """Mean log-probability (nats per word) under an n-gram model of generated texts; higher means member."""
    counts = ngram_counts(synthetic_texts.generated, n)
    return mean_logp(texts.scored, counts, n, len(counts.words) + 1)
