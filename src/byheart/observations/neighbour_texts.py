"""Neighbours of every audited text: the text with one word, or one token, changed for another that fits as well.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

    swap(x_t -> v) = p(v) / (1 - p(x_t)), the highest `count` of a text's pairs (t, v)

They are made once for a base and its texts, for all methods, seeds and epochs. There are two ways to make them.

With `masked_model` (the name of a masked language model such as `distilbert/distilroberta-base`, or a folder that holds
one), as in the paper: p is that model's distribution at a word whose embedding has 70 % of its numbers dropped, words
are changed for words, and what comes before and after is seen. It costs a pass of that model a word of each text, and
only texts that put spaces between words have neighbours.

Without it, the base model proposes: p is its next-token distribution, one pass for all texts. It sees only what comes
before, so that a neighbour may not go on as its text does. It changes tokens, which may be parts of words. And a
neighbour's likelihood under the base is biased: where the text surprised the base, the token that the base had wanted
is put in, and the neighbour may be likelier than its text. Members and non-members have the bias alike, so that they
can be compared; but no single score's size or sign means what it does in the paper.

Either way only scored tokens are changed. Where fewer than `count` neighbours can be made there are fewer, and a text
of which none can be made (without a word that is one token of the masked model) has itself, so that its neighbours
say nothing of it. A neighbour by words may be longer or shorter in tokens than its text; no neighbour is longer than
the longest audited text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.evidence import Substitutes
from byheart.core.registry import ContentIdentity
from byheart.lm.base_models import identity, locate
from byheart.lm.load import masked_lm_source

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "the untuned base model, or a masked language model, to write neighbours of a text with"


def _masked_model_identity(masked_model: str) -> str:
    """Return what tells a masked model in a folder from any other; raises `ModelError` for one that is none."""
    if not masked_model or locate(masked_model) is None:  # the Hub's need not be at hand where its evidence is
        return ""
    masked_lm_source(masked_model)
    return identity(masked_model)


def neighbour_texts(
    base_model: Scorer,
    tokens: Tokens,
    *,
    count: Annotated[int, Ge(1)] = 25,
    masked_model: Annotated[str, ContentIdentity(_masked_model_identity)] = "",
) -> Substitutes:
    """Up to `count` neighbours of each audited text, by a masked model or else by the base model, as token ids.

    Raises `ModelError` for a masked model that is missing, not masked, or not safe to load.
    """
    from byheart.lm.masked_lm import load_masked, word_neighbours
    from byheart.lm.placement import device_of  # torch, which naming a masked model need not load
    from byheart.lm.token_swaps import token_neighbours

    if masked_model:
        masked = load_masked(masked_model)
        masked.module.to(device_of(base_model.model.module))
        rows = word_neighbours(masked, base_model, tokens, count)
    else:
        rows = token_neighbours(base_model, tokens, count)
    flat = [row for neighbours in rows for row in neighbours]
    return Substitutes(
        ids=np.concatenate(flat),
        offsets=np.cumsum([0, *map(len, flat)]),
        starts=np.cumsum([0, *map(len, rows)]),
    )
