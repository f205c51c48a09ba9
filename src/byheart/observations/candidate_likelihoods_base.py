"""The untuned base reads every audited text with each candidate for each of its private attributes, once for all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._attributes import candidate_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import Candidates, Variants
    from byheart.lm.forward import Scorer

PASSES = "attributes * count"
ADVERSARY = "log-probabilities of the untuned base model, for many texts more"


def candidate_likelihoods_base(base_model: Scorer, candidates: Candidates) -> Variants:
    """Mean log-probability (nats) of each reading's scored tokens under the untuned base model, an attribute at a time.

    Raises `DataError` where another value makes a text longer than the model's context.
    """
    return candidate_logprobs(base_model, candidates)
