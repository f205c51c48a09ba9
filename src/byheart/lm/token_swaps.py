"""Neighbours of texts: each is the text with one token changed for another that a model would as well put there.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

    swap(x_t -> v) = p(v) / (1 - p(x_t))        p: the model's distribution at position t of the text

A text's neighbours are those of its pairs (t, v) that have the highest swap score. It is computed as the softmax over
all tokens but x_t, which is the same number, and is defined where p(x_t) rounds to one.

Here p is a causal model's next-token distribution, so that one pass of the texts proposes for every position at once.
`masked.py` has the paper's own proposals.

Shapes: R scored rows, V vocabulary, K proposals a row, N scored tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from byheart.lm.forward import Scorer, reduce_logits
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def ordinary_token_ids(model: LanguageModel) -> list[int]:
    """Return the ids of all tokens but the special ones and those that no text has."""
    tokenizer: PreTrainedTokenizerBase = model.tokenizer
    special = set(tokenizer.all_special_ids)
    return [i for i in range(min(len(tokenizer), model.vocabulary_size)) if i not in special]


def top_swaps(logits_RV: torch.Tensor, true_R: torch.Tensor, allowed: torch.Tensor, count: int) -> torch.Tensor:
    """Return (2 K, R): the K highest logarithms of swap scores among the allowed ids, then the ids they are of.

    K is `count`, or all that are allowed. The true token, where it is allowed, has -inf.
    """
    others_RV = logits_RV.scatter(1, true_R[:, None], -torch.inf).log_softmax(1)
    best_RK, which_RK = others_RV[:, allowed].topk(min(count, len(allowed)), dim=1)
    # An id is held exactly: float32 has every whole number up to 16 million.
    return torch.cat([best_RK, allowed[which_RK].float()], dim=1).T


def rank_swaps(
    scores: Float[np.ndarray, "proposals tokens"], ids: Int[np.ndarray, "proposals tokens"]
) -> list[tuple[int, int]]:
    """Return a text's pairs (place among its tokens, id), the highest score first; of equal ones the earlier, the lower id."""
    places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.lexsort((ids.ravel(), places.ravel(), -scores.ravel()))
    possible = order[np.isfinite(scores.ravel()[order])]
    return list(zip(places.ravel()[possible].tolist(), ids.ravel()[possible].tolist(), strict=True))


def token_neighbours(base: Scorer, tokens: Tokens, count: int) -> list[list[Int[np.ndarray, " tokens"]]]:
    """Return each text's `count` neighbours by the base itself: ids as long as the text, one of the scored tokens changed.

    There are fewer where the vocabulary has no more; a text without any has itself.
    """
    allowed = torch.tensor(ordinary_token_ids(base.model))
    kept = min(count, len(allowed))

    def proposed(logits_RV: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
        return top_swaps(logits_RV, true_R, allowed.to(logits_RV.device), count)

    found = reduce_logits(
        base.model, tokens, proposed, values_per_token=2 * kept, budget=base.budget, precision=base.precision
    )
    scores, ids = found[:kept], found[kept:].astype(np.int64)
    offsets = tokens.scored_starts
    rows: list[list[np.ndarray]] = []
    for i, first in enumerate(tokens.first):
        own = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        here = slice(int(offsets[i]), int(offsets[i + 1]))
        rows.append(
            [_replace_token(own, int(first) + t, v) for t, v in rank_swaps(scores[:, here], ids[:, here])[:count]]
            or [own]
        )
    return rows


def _replace_token(ids: Int[np.ndarray, " tokens"], place: int, token: int) -> Int[np.ndarray, " tokens"]:
    changed = ids.copy()
    changed[place] = token
    return changed
