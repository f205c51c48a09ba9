"""Scores every audited text with the target model, once with each candidate value of each private value of its prompt.

One pass gives the likelihood of the prompt and that of the completion. At epoch 0 the model is the base model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._prompt_likelihoods import prompt_likelihoods

if TYPE_CHECKING:
    from byheart.core.evidence import Candidates, PromptLikelihoods
    from byheart.lm.forward import Scorer

PASSES = "3 * attributes * count + -2 * attributes"  # the true value, and 3 (count - 1) others
BASE_EQUIVALENT = "prompt_candidate_likelihoods_base"
ADVERSARY = "log-probabilities of the target model for many more texts"


def prompt_candidate_likelihoods(model: Scorer, prompt_candidates: Candidates) -> PromptLikelihoods:
    """Log-likelihood (nats) of each reading's prompt and of its completion under the target model; higher is likelier.

    Raises `DataError` if another value makes a text longer than the model's context.
    """
    return prompt_likelihoods(model, prompt_candidates)
