"""Scores every audited text with the target model, once with each candidate value of each of its private attributes.

Per attribute and epoch this costs three times as many passes as a pool has candidates. At epoch 0 the model is the base model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._attributes import candidate_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import Candidates, Variants
    from byheart.lm.forward import Scorer

PASSES = "3 * attributes * count + -2 * attributes"  # the true value, and 3 (count - 1) others
BASE_EQUIVALENT = "candidate_likelihoods_base"
ADVERSARY = "log-probabilities of the target model for many more texts"


def candidate_likelihoods(model: Scorer, candidates: Candidates) -> Variants:
    """Mean log-probability (nats per token) of each candidate reading under the target model, by attribute; higher is likelier.

    Raises `DataError` if another value makes a text longer than the model's context.
    """
    return candidate_logprobs(model, candidates)
