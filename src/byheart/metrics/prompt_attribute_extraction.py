"""Attribute extraction from prompts: measures how often the model generates a private value that stood only in a prompt.

Marton Szep, Jorge Marin Ruiz, Georgios Kaissis, Paulina Seidl, Rüdiger von Eisenhart-Rothe, Florian Hinterwimmer, Daniel Rueckert.
Unintended Memorization of Sensitive Information in Fine-Tuned Language Models. EACL, 2026. arXiv 2601.17480 (true-prefix attack).

    recited = share of values that the model generates verbatim from the beginning of the prompt

Shares, controls and intervals are those of `attribute_extraction`.

Departures from the authors' code (github.com/martonszep/llm-pii-leak): the prefix is the whole prompt before the value, not
its last 50 tokens; the greedy continuation must have the value at its place, in the same case, where the code searches for it
in the continuation, of which it can sample several. Non-members and the base model are controls.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.evidence import RecitedAttributes
from byheart.core.types import Estimate
from byheart.metrics._recited import recited_estimates

RANGE = {"of=": (0.0, 1.0), "over=": (-1.0, 1.0)}


def prompt_attribute_extraction(
    recited_prompt_attributes: RecitedAttributes,
    recited_prompt_attributes_base: RecitedAttributes,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
) -> dict[str, Estimate]:
    """By kind: share (0 to 1) of private values of prompts generated verbatim, of members and controls; higher is more leaked.

    `advantage` is that share minus each control; above 0 is leaked. Counts attributes, not texts.
    """
    return recited_estimates(recited_prompt_attributes, recited_prompt_attributes_base, membership, groups)
