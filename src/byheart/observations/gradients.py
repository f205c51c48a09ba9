"""Computes the norm of each audited text's own loss gradient under the target model.

The adversary needs the weights. The gradient is over the parameters that the method trains: all weights, the head, the adapter
or the virtual tokens. Norms of two methods, or of epoch 0 and another epoch, are over different parameters, so only their ranking
of the texts is comparable. At epoch 0 the gradient is over all weights of the base model: one number per text for all methods,
which measures how difficult the text is.

Texts are processed one at a time, forward and backward: about three forward passes, and memory for one more copy of the trained
parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.core.evidence import Gradients
from byheart.lm.gradient_norms import gradient_norms

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 3.0
ADVERSARY = "the weights of the target model"


def gradients(model: Scorer, tokens: Tokens) -> Gradients:
    """Norm (nats per unit of weight) of each audited text's own loss gradient on the trained parameters; lower means better fitted."""
    return Gradients(norm=gradient_norms(model.model, tokens, budget=model.budget, precision=model.precision))
