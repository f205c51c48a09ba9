"""Neighbors of texts: each neighbor replaces one token by another token that a model considers likely there.

Justus Mattern, Fatemehsadat Mireshghallah, Zhijing Jin, Bernhard Schölkopf, Mrinmaya Sachan, Taylor Berg-Kirkpatrick.
Membership Inference Attacks against Language Models via Neighbourhood Comparison. Findings of ACL, 2023.
arXiv 2305.18462.

    swap(x_t -> v) = p(v) / (1 - p(x_t))        p: the model's distribution at position t of the text

A text's neighbors are its pairs (t, v) with the highest swap scores. The score is computed as the softmax over all tokens
except x_t: the same number, but defined if p(x_t) rounds to one.

Here p is a causal model's next-token distribution, so one forward pass proposes swaps for every position.
`masked_lm.py` implements the paper's proposals.

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
    """Return the ids of all tokens except special tokens and ids beyond the tokenizer or the model's vocabulary."""
    tokenizer: PreTrainedTokenizerBase = model.tokenizer
    special = set(tokenizer.all_special_ids)
    return [i for i in range(min(len(tokenizer), model.vocabulary_size)) if i not in special]


def top_swaps(logits_RV: torch.Tensor, true_R: torch.Tensor, allowed: torch.Tensor, count: int) -> torch.Tensor:
    """Return (2 K, R): the K highest log swap scores among the allowed ids, then their ids.

    K is the smaller of `count` and the number of allowed ids. The true token, if allowed, has -inf.
    """
    others_RV = logits_RV.scatter(1, true_R[:, None], -torch.inf).log_softmax(1)
    best_RK, index_RK = others_RV[:, allowed].topk(min(count, len(allowed)), dim=1)
    # float32 represents ids exactly: every integer up to 16 million.
    return torch.cat([best_RK, allowed[index_RK].float()], dim=1).T


def rank_swaps(
    scores: Float[np.ndarray, "proposals tokens"], ids: Int[np.ndarray, "proposals tokens"]
) -> list[tuple[int, int]]:
    """Return a text's pairs (position, id) by descending score; ties by lower position, then lower id."""
    positions = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.lexsort((ids.ravel(), positions.ravel(), -scores.ravel()))
    finite = order[np.isfinite(scores.ravel()[order])]
    return list(zip(positions.ravel()[finite].tolist(), ids.ravel()[finite].tolist(), strict=True))


def token_neighbours(base: Scorer, tokens: Tokens, count: int) -> list[list[Int[np.ndarray, " tokens"]]]:
    """Return each text's `count` neighbors proposed by the base model: its ids with one scored token replaced.

    A small vocabulary gives fewer neighbors. An end token is not replaced. A text without neighbors is its own neighbor.
    """
    allowed = torch.tensor(ordinary_token_ids(base.model))
    proposal_count = min(count, len(allowed))

    def propose(logits_RV: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
        return top_swaps(logits_RV, true_R, allowed.to(logits_RV.device), count)

    proposals = reduce_logits(
        base.model, tokens, propose, values_per_token=2 * proposal_count, budget=base.budget, precision=base.precision
    )
    scores, ids = proposals[:proposal_count], proposals[proposal_count:].astype(np.int64)
    offsets = tokens.scored_starts
    rows: list[list[np.ndarray]] = []
    for i, first in enumerate(tokens.first):
        text_ids = tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]
        scored = slice(int(offsets[i]), int(offsets[i]) + int(tokens.text_lengths[i] - first))
        rows.append(
            [
                _replace_token(text_ids, int(first) + t, v)
                for t, v in rank_swaps(scores[:, scored], ids[:, scored])[:count]
            ]
            or [text_ids]
        )
    return rows


def _replace_token(ids: Int[np.ndarray, " tokens"], position: int, token: int) -> Int[np.ndarray, " tokens"]:
    changed = ids.copy()
    changed[position] = token
    return changed
