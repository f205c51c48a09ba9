"""Synthetic similarity: compares each record with the most similar texts that the target model generated.

Matthieu Meeus, Lukas Wutschitz, Santiago Zanella-Beguelin, Shruti Tople, Reza Shokri. The Canary's Echo: Auditing Privacy Risks of
LLM-Generated Synthetic Text. ICML, 2025. arXiv 2502.14921.

    s_i = |G(x) & G(y_i)| / |G(x) | G(y_i)|        G: set of n-grams of words; y_i: a generated text
    score(x) = mean of the k largest s_i

The default compares single words (n = 1) with 25 generated texts. A larger n reacts to copied runs of words only, a smaller k to one copy
among thousands of generated texts. The model itself is not needed.

The formulas follow the paper's abstract and public summaries of it; its code is not public.

Departures from the paper:

- It also compares embeddings by their cosine. Ours needs no embedding model.
- A word has no case and no punctuation (in scripts without spaces it is a character), because generated texts come without the
  model's tokenizer.
- Its reference models are in `synthetic_similarity_calibrated`.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from byheart.attacks._synthetic import mean_top_similarity
from byheart.core import Scores, SyntheticTexts, Texts

VARIANT = "Jaccard similarity of words only, no embeddings"


def synthetic_similarity(
    synthetic_texts: SyntheticTexts, texts: Texts, *, k: Annotated[int, Ge(1)] = 25, n: Annotated[int, Ge(1)] = 1
) -> Scores:
    """Mean Jaccard similarity (0 to 1) with the `k` most similar generated texts, by their n-grams; higher means member.

    With fewer than `k` generated texts, the mean of all of them.
    """
    return mean_top_similarity(texts.scored, synthetic_texts.generated, n=n, k=k)
