"""The model under attack reads every audited text's neighbours, each as it reads the text: prompt, BOS, virtual tokens.

It costs as many passes as there are neighbours, at every epoch. At epoch 0 it is what the untuned base says of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.observations._neighbours import neighbour_logprobs

if TYPE_CHECKING:
    from byheart.core.evidence import Substitutes, Variants
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "count"
UNTUNED = "neighbours_base"
ADVERSARY = "log-probabilities of the model under attack, for many texts more"


def neighbours(model: Scorer, tokens: Tokens, neighbour_texts: Substitutes) -> Variants:
    """Mean log-probability of each neighbour's scored tokens under the model that is attacked."""
    return neighbour_logprobs(model, tokens, neighbour_texts)
