"""Extractable memorization: tests whether a text appears among texts that the model generates without any prefix of it.

Milad Nasr, Nicholas Carlini, Jonathan Hayase, Matthew Jagielski, A. Feder Cooper, Daphne Ippolito, Christopher Choquette-Choo,
Eric Wallace, Florian Tramèr, Katherine Lee. Scalable Extraction of Training Data from (Production) Language Models. 2023.
arXiv 2311.17035 (extractable, 50 tokens). The texts are those of the observation `contrastive_samples`.

    verbatim   longest run of x's tokens in a generated text / min(window, |x|), at most 1    extracted if 1
    near       similarity of x to the nearest generated text                                 extracted if >= threshold

|x| is the text's length in tokens, without its prompt. The similarity is that of near duplicates (`data.near_duplicate`), with the
containment of the text only. Short texts appear by chance: compare the members' rate with `extraction_rate_nonmembers` and with the
rate at epoch 0, of the base model's samples.

Departures from the paper:

- It searches generated texts in all training data, and counts the distinct training texts that it finds. This attack searches
  the audited texts, so that non-members are a control.
- A text of fewer tokens than `window` is extracted if it appears completely; the paper needs 50 tokens.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from byheart.core import ContrastiveSamples, Extraction

VARIANT = "generates from the contrast of target and base model; searches the audited texts, not all training data"


def extractable(
    contrastive_samples: ContrastiveSamples,
    *,
    by: Literal["verbatim", "near"] = "verbatim",
    window: Annotated[int, Ge(1)] = 50,
    threshold: Annotated[float, Gt(0), Le(1)] = 0.8,
) -> Extraction:
    """Share (0 to 1) of the text that appears in texts generated without its prefix; higher means member.

    A text is extracted if `window` tokens, or all tokens of a shorter text, appear in one generated text. With `by: near` the share
    is the similarity to the nearest generated text, and the text is extracted if it is at least `threshold`.
    """
    if by == "near":
        scores = contrastive_samples.similarity
        return Extraction(scores, scores >= threshold, contrastive_samples.length)
    needed = np.minimum(window, contrastive_samples.length)
    scores = np.minimum(contrastive_samples.run / needed, 1.0)
    return Extraction(scores, contrastive_samples.run >= needed, needed)
