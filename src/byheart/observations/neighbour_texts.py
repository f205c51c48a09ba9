"""Generates neighbours of every audited text: copies with one word, or one token, replaced by a plausible alternative.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

    swap(x_t -> v) = p(v) / (1 - p(x_t)), the highest `count` of a text's pairs (t, v)

x_t is the word or token at position t, v its replacement, p the distribution of a model at this position. Neighbours are
generated once per base model and texts, for all methods, seeds and epochs, in one of two ways:

- With `masked_model` (the name of a masked language model such as `distilbert/distilroberta-base`, or a folder that contains
  one), as in the paper. p is that model's distribution at a word whose embedding has 70 % of its numbers dropped; it uses the
  preceding and the following words. Words are replaced by words. This costs one pass of that model per word of each text, and
  only texts with spaces between words have neighbours.
- Without it, the base model proposes replacements. p is its next-token distribution, from one pass over all texts. It uses the
  preceding tokens only, so a neighbour may not fit the rest of its text. Tokens, possibly parts of words, are replaced.

Departure from the paper without a masked model: a neighbour's likelihood under the base model is biased. Where a token surprised
the base model, its replacement is the token that the base model preferred, and the neighbour may be likelier than the text.
Members and non-members have the same bias, so they are comparable, but the size and sign of one score do not have the paper's
meaning.

Only scored tokens are replaced. A text may have fewer than `count` neighbours. A text without any neighbour (without a word that
is one token of the masked model) gets itself as its neighbour, which is no evidence. A neighbour by words may have more or fewer
tokens than its text, but no more than the longest audited text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from byheart.core.evidence import NeighborTokens
from byheart.core.registry import ContentIdentity
from byheart.lm.base_models import identity, locate
from byheart.lm.load import masked_lm_source

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

ADVERSARY = "the base model, or a masked language model, to generate neighbours of a text"


def _masked_model_identity(masked_model: str) -> str:
    """Return the identity of a masked model in a folder, "" for a model on the Hub; raise `ModelError` if it is not one."""
    if not masked_model or locate(masked_model) is None:  # stored evidence is usable without the Hub's model
        return ""
    masked_lm_source(masked_model)
    return identity(masked_model)


def neighbour_texts(
    base_model: Scorer,
    tokens: Tokens,
    *,
    count: Annotated[int, Ge(1)] = 25,
    masked_model: Annotated[str, ContentIdentity(_masked_model_identity)] = "",
) -> NeighborTokens:
    """Token ids of up to `count` neighbours of each audited text, from a masked model or else from the base model.

    Raises `ModelError` for a masked model that is missing, not masked, or not safe to load.
    """
    from byheart.lm.devices import device_of  # imports torch, which is not needed to check the settings
    from byheart.lm.masked_lm import load_masked, word_neighbours
    from byheart.lm.token_swaps import token_neighbours

    if masked_model:
        masked = load_masked(masked_model)
        masked.module.to(device_of(base_model.model.module))
        rows = word_neighbours(masked, base_model, tokens, count)
    else:
        rows = token_neighbours(base_model, tokens, count)
    all_neighbours = [row for neighbours in rows for row in neighbours]
    return NeighborTokens(
        ids=np.concatenate(all_neighbours),
        offsets=np.cumsum([0, *map(len, all_neighbours)]),
        starts=np.cumsum([0, *map(len, rows)]),
    )
