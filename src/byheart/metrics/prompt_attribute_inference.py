"""Attribute inference in prompts: measures how often the model identifies a private value that stood only in a prompt.

Marton Szep, Jorge Marin Ruiz, Georgios Kaissis, Paulina Seidl, Rüdiger von Eisenhart-Rothe, Florian Hinterwimmer, Daniel Rueckert.
Unintended Memorization of Sensitive Information in Fine-Tuned Language Models. EACL, 2026. arXiv 2601.17480.

    guess = argmax over candidates c of log p(part | before it), with c in place of the value in the prompt

    ranked_by=completion   the part is the completion, which receives loss: which value leads to the completion of this record?
    ranked_by=prompt       the part is the prompt itself, which receives no loss in training by byheart

Shares, pools of candidates, controls and intervals are those of `attribute_inference`. The completion also ranks candidates of a base
model that understands the task, so only the advantages count.

Departure from the paper: its attack generates the value from the text before it, as `prompt_attribute_extraction` does. The
ranking by likelihood is that of Lukas et al., arXiv 2302.00539, here in the prompt.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.evidence import Candidates, PromptLikelihoods
from byheart.core.types import Estimate, Texts
from byheart.metrics._inference import inference_estimates

RANGE = {"of=": (0.0, 1.0), "over=": (-1.0, 1.0)}


def prompt_attribute_inference(
    prompt_candidates: Candidates,
    prompt_candidate_likelihoods: PromptLikelihoods,
    prompt_candidate_likelihoods_base: PromptLikelihoods,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    training_texts: Texts,
) -> dict[str, Estimate]:
    """By kind, ranking and pool: share (0 to 1) of values in prompts identified among others; higher is more leaked.

    `ranked_by` says whether the completion or the prompt itself ranks the candidates. `advantage` is the members' share minus each
    control; above 0 is leaked. Counts attributes that have candidates, not texts.
    """
    estimates: dict[str, Estimate] = {}
    for ranked_by in ("completion", "prompt"):
        scores, base_scores = (
            getattr(likelihoods, ranked_by)
            for likelihoods in (prompt_candidate_likelihoods, prompt_candidate_likelihoods_base)
        )
        estimates |= inference_estimates(
            prompt_candidates, scores, base_scores, membership, groups, training_texts, ranked_by=ranked_by
        )
    return estimates
