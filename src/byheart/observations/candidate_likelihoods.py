"""The model under attack reads every audited text with each candidate for each of its private attributes.

It costs as many passes as a text has attributes, times the candidates, at every epoch. At epoch 0 it is what the untuned
base says of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._attributes import candidate_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import Candidates, Variants
    from byheart.lm.forward import Scorer

PASSES = "attributes * count"
UNTUNED = "candidate_likelihoods_base"
ADVERSARY = "log-probabilities of the model under attack, for many texts more"


def candidate_likelihoods(model: Scorer, candidates: Candidates) -> Variants:
    """Mean log-probability (nats) of each reading's scored tokens under the model that is attacked, an attribute at a time.

    Raises `DataError` where another value makes a text longer than the model's context.
    """
    return candidate_logprobs(model, candidates)
