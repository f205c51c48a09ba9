"""Norm of each text's loss gradient over the trained parameters.

`torch.autograd.grad` computes the gradients and does not change any parameter's `.grad`; those of sharded parameters exist only
as `.grad`, which is removed. The loss is the training loss:
the mean over the text's scored tokens. The forward pass is the scoring pass (evaluation mode, no dropout) with gradients.
If the trunk's hidden states are cached, only the head runs.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import cross_entropy

from byheart.core.errors import ModelError
from byheart.lm.forward import cached_hidden_states, hidden_rows, scoring_mode
from byheart.lm.load import LanguageModel
from byheart.lm.placement import device_of
from byheart.lm.sharding import gradient_norm, sharded_root
from byheart.lm.tokens import Tokens
from byheart.lm.train import trainable_parameters
from byheart.lm.trunk_and_head import raw_logits, reduce_gradients


def gradient_norms(
    model: LanguageModel, tokens: Tokens, *, budget: int, precision: torch.dtype
) -> Float[np.ndarray, " texts"]:
    """Return the Euclidean norm of each text's loss gradient (nats per unit of weight) over the trained parameters.

    Texts run one at a time, because the norm of a batch's summed gradient does not determine its texts' norms. Raises
    `ModelError` if no parameter is trained, and for a norm that is not finite.
    """
    parameters = list(trainable_parameters(model.module).values())
    if not parameters:
        raise ModelError(
            f"model {model.name!r}: no parameter requires gradients. Set requires_grad on some parameters."
        )
    cached = None if model.hidden is None else cached_hidden_states(model, tokens, budget, precision)
    device = device_of(model.module)
    text_norms = np.empty(len(tokens))
    with scoring_mode(model.module, precision), torch.enable_grad():
        for i in range(len(tokens)):
            text = np.array([i])
            positions = tokens.scored_positions(text)
            hidden_RD = (
                hidden_rows(model.module, tokens, text)
                if cached is None
                else cached[torch.from_numpy(positions)].to(device)
            )
            loss = cross_entropy(
                raw_logits(model.module, hidden_RD).float(), torch.from_numpy(tokens.scored_ids[positions]).to(device)
            )
            if sharded_root(model.module) is not None:
                text_norms[i] = _sharded_norm(model.module, parameters, loss, hidden_RD)
                continue
            # An expert that receives no token has a zero gradient.
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            norms = [torch.linalg.vector_norm(g, dtype=torch.float32) for g in gradients]
            text_norms[i] = float(torch.stack(norms).norm())
    if not np.isfinite(text_norms).all():
        raise ModelError(
            f"model {model.name!r}: gradients are not finite. Try precision float32, or check the model's weights."
        )
    return text_norms


def _sharded_norm(
    module: torch.nn.Module, parameters: list[torch.nn.Parameter], loss: torch.Tensor, hidden_RD: torch.Tensor
) -> float:
    """Return the norm of the loss gradient over sharded parameters."""
    loss.backward()
    if not hidden_RD.requires_grad:
        reduce_gradients(module, hidden_RD)
    norm = gradient_norm(p.grad for p in parameters if p.grad is not None)
    for parameter in parameters:
        parameter.grad = None
    return float(norm)
