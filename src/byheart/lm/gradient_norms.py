"""Norm of each text's loss gradient over the trained parameters."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from byheart.core.errors import ModelError
from byheart.lm.load import LanguageModel
from byheart.lm.sharding import gradient_norm, sharded_root
from byheart.lm.text_gradients import reduce_text_gradients
from byheart.lm.tokens import Tokens
from byheart.lm.train import trainable_parameters


def gradient_norms(
    model: LanguageModel, tokens: Tokens, *, budget: int, precision: torch.dtype
) -> Float[np.ndarray, " texts"]:
    """Return the Euclidean norm of each text's loss gradient (nats per unit of weight) over the trained parameters.

    Raises `ModelError` if no parameter is trained, and for a norm that is not finite.
    """
    parameters = list(trainable_parameters(model.module).values())
    if not parameters:
        raise ModelError(
            f"model {model.name!r}: no parameter requires gradients. Set requires_grad on some parameters."
        )
    norm = _sharded_norm if sharded_root(model.module) is not None else _norm
    return reduce_text_gradients(model, tokens, parameters, norm, budget=budget, precision=precision)


def _norm(gradients: list[torch.Tensor | None]) -> float:
    norms = [torch.linalg.vector_norm(g, dtype=torch.float32) for g in gradients if g is not None]
    return float(torch.stack(norms).norm())


def _sharded_norm(gradients: list[torch.Tensor | None]) -> float:
    return float(gradient_norm(g for g in gradients if g is not None))
