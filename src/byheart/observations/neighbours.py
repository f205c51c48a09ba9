"""Scores the neighbours of every audited text with the target model, in the same context as the text: BOS, prompt, virtual tokens.

At every epoch this costs as many passes as there are neighbours. At epoch 0 the model is the base model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._neighbours import neighbour_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import NeighborTokens, Variants
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "count"
BASE_EQUIVALENT = "neighbours_base"
ADVERSARY = "log-probabilities of the target model for many more texts"


def neighbours(model: Scorer, tokens: Tokens, neighbour_texts: NeighborTokens) -> Variants:
    """Mean log-probability (nats per token) of each neighbour's scored tokens under the target model; higher is likelier."""
    return neighbour_logprobs(model, tokens, neighbour_texts)
