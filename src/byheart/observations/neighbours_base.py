"""Scores the neighbours of every audited text with the base model: once for all methods, seeds and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._neighbours import neighbour_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import NeighborTokens, Variants
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "count"
ADVERSARY = "log-probabilities of the base model for many more texts"


def neighbours_base(base_model: Scorer, tokens: Tokens, neighbour_texts: NeighborTokens) -> Variants:
    """Mean log-probability (nats per token) of each neighbour's scored tokens under the base model; higher is likelier."""
    return neighbour_logprobs(base_model, tokens, neighbour_texts)
