"""Scores every audited text with the base model and each candidate value of its private attributes: once for all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._attributes import candidate_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import Candidates, Variants
    from byheart.lm.forward import Scorer

PASSES = "3 * attributes * count + -2 * attributes"  # the true value, and 3 (count - 1) others
ADVERSARY = "log-probabilities of the base model for many more texts"


def candidate_likelihoods_base(base_model: Scorer, candidates: Candidates) -> Variants:
    """Mean log-probability (nats per token) of each candidate reading under the base model, by attribute; higher is likelier.

    Raises `DataError` if another value makes a text longer than the model's context.
    """
    return candidate_logprobs(base_model, candidates)
