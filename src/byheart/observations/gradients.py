"""The model under attack is asked how each audited text would change it: the norm of the text's own loss gradient.

Whoever uses it must own the weights. The gradient is over what the method trains: every weight, the head, the adapter,
the virtual tokens. Numbers of two methods, or of two epochs of which one is 0, are of different parameters, and only
their order among the texts compares. At epoch 0 no method has touched the model yet: the gradient is over all of the
base's weights, one number for all methods, and says which texts are hard to any.

One text at a time, forward and backward: about three forward passes, and memory for one more copy of what is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byheart.core.evidence import Gradients
from byheart.lm.gradient_norms import gradient_norms

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = 3.0
ADVERSARY = "the weights of the model under attack"


def gradients(model: Scorer, tokens: Tokens) -> Gradients:
    """Norm of each audited text's own loss gradient on the trained parameters of the model that is attacked."""
    return Gradients(norm=gradient_norms(model.model, tokens, budget=model.budget, precision=model.precision))
