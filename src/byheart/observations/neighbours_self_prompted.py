"""Scores the neighbours of every audited text with the self-prompted reference model (`self_prompted`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._neighbours import neighbour_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import NeighborTokens, PromptedTexts, Variants
    from byheart.lm.forward import ReferenceTrainer
    from byheart.lm.tokens import Tokens

PASSES = "count"
BASE_EQUIVALENT = "neighbours_base"
ADVERSARY = "log-probabilities of the reference model for many more texts"


def neighbours_self_prompted(
    reference_trainer: ReferenceTrainer,
    self_prompted_texts: PromptedTexts,
    tokens: Tokens,
    neighbour_texts: NeighborTokens,
) -> Variants:
    """Mean log-probability (nats per token) of each neighbour under the self-prompted reference model; higher is likelier."""
    return neighbour_logprobs(reference_trainer(self_prompted_texts), tokens, neighbour_texts)
