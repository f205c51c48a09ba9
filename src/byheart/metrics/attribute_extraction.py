"""Attribute extraction: measures how often the model generates a private value verbatim from the text before it.

Nils Lukas, Ahmed Salem, Robert Sim, Shruti Tople, Lukas Wutschitz, Santiago Zanella-Béguelin. Analyzing Leakage of
Personally Identifiable Information in Language Models. IEEE Symposium on Security and Privacy, 2023. arXiv 2302.00539.

    recited = share of attributes for which the model generates the true text up to the end of the attribute

Leading spaces are not compared. Each kind has two controls: non-members, which no model was trained on, and the base model on the
same texts. A value that occurs earlier in the text, or that the preceding text reveals, is recited for the controls too.
`advantage` is the members' share minus that of each control.

Departure from the paper: its reconstruction attack samples many values and ranks them. Ours uses the model's greedy continuation
and requires the value verbatim.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from byheart.core.evidence import RecitedAttributes
from byheart.core.types import Estimate
from byheart.metrics._recited import recited_estimates

RANGE = {"of=": (0.0, 1.0), "over=": (-1.0, 1.0)}


def attribute_extraction(
    recited_attributes: RecitedAttributes,
    recited_attributes_base: RecitedAttributes,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
) -> dict[str, Estimate]:
    """By kind: share (0 to 1) of private values generated verbatim, of members and controls; higher is more leaked.

    `advantage` is that share minus each control; above 0 is leaked. Counts attributes, not texts.
    """
    return recited_estimates(recited_attributes, recited_attributes_base, membership, groups)
