"""How far a single text would move what is trained: the norm of its own loss gradient, text by text.

Gradients come from `torch.autograd.grad`, which leaves every parameter's `.grad` alone. The loss is what training
minimises, the mean over the text's scored tokens; the pass is the one that scores (evaluation mode, so no dropout),
with gradients on. Where the trunk's hidden states are remembered, only the head is run.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import cross_entropy

from byheart.core.errors import ModelError
from byheart.lm.forward import cached_hidden_states, hidden_rows, logits, scoring_mode
from byheart.lm.load import LanguageModel
from byheart.lm.placement import device_of
from byheart.lm.tokens import Tokens
from byheart.lm.train import trainable_parameters


def gradient_norms(
    model: LanguageModel, tokens: Tokens, *, budget: int, precision: torch.dtype
) -> Float[np.ndarray, " texts"]:
    """Return the Euclidean norm of each text's loss gradient (nats per unit of weight) over everything that is trained.

    One text at a time: a batch's gradient is a sum, whose norm says nothing of its texts. Raises `ModelError` where
    nothing is trained, and for a norm that is not finite.
    """
    parameters = list(trainable_parameters(model.module).values())
    if not parameters:
        raise ModelError(f"model {model.name!r} has no parameter that is trained; let some require gradients")
    kept = None if model.hidden is None else cached_hidden_states(model, tokens, budget, precision)
    device = device_of(model.module)
    found = np.empty(len(tokens))
    with scoring_mode(model.module, precision), torch.enable_grad():
        for i in range(len(tokens)):
            alone = np.array([i])
            places = tokens.scored_positions(alone)
            hidden_RD = (
                hidden_rows(model.module, tokens, alone) if kept is None else kept[torch.from_numpy(places)].to(device)
            )
            loss = cross_entropy(
                logits(model.module, hidden_RD), torch.from_numpy(tokens.scored_ids[places]).to(device)
            )
            # An expert that no token was sent to takes no part: its gradient is zero.
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            norms = [torch.linalg.vector_norm(g, dtype=torch.float32) for g in gradients]
            found[i] = float(torch.stack(norms).norm())
    if not np.isfinite(found).all():
        raise ModelError(
            f"model {model.name!r} gives gradients that are not finite; try precision float32, or check its weights"
        )
    return found
