"""How likely each token is to be drawn by a model that samples: after temperature, top-k and top-p, from one pass.

In the order in which transformers applies them: logits by the temperature, of these the `top_k` largest, of these as few
of the likeliest as have `top_p` of the probability together. Tokens that tie with the last of the `top_k` are all kept, as
there. A token that is not kept is never drawn: minus infinity.

Shapes: R scored rows, V vocabulary, K most likely tokens.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from byheart.core.errors import ModelError
from byheart.lm.forward import Scorer, reduce_logits
from byheart.lm.tokens import Tokens


def token_sampling_logprobs(
    scorer: Scorer, tokens: Tokens, *, temperature: float, top_k: int | None, top_p: float
) -> Float[np.ndarray, " scored_tokens"]:
    """Return the log-probability (nats) that each scored token is drawn, the tokens before it being the text's own.

    Raises `ModelError` where the model gives what is no number.
    """

    def reduce(logits_RV: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
        return row_sampling_logprobs(logits_RV, true_R, temperature, top_k, top_p)[None]

    found = reduce_logits(
        scorer.model, tokens, reduce, values_per_token=1, budget=scorer.budget, precision=scorer.precision
    )[0]
    if np.isnan(found).any():
        raise ModelError(
            f"model {scorer.model.name!r} gives probabilities that are not numbers; try precision float32, or check its weights"
        )
    return found


def row_sampling_logprobs(
    logits_RV: torch.Tensor, true_R: torch.Tensor, temperature: float, top_k: int | None, top_p: float
) -> torch.Tensor:
    """Return the log-probability (R) that each row's true token is drawn."""
    scaled_RV = logits_RV / temperature
    true_R1 = scaled_RV.gather(1, true_R[:, None])
    kept_R1 = torch.ones_like(true_R1, dtype=torch.bool)
    if top_k is not None and top_k < scaled_RV.shape[1]:
        least_R1 = scaled_RV.topk(top_k).values[:, -1:]
        kept_R1 = true_R1 >= least_R1
        scaled_RV = scaled_RV.masked_fill(scaled_RV < least_R1, -torch.inf)
    if top_p < 1:
        # In double precision: a sum of many probabilities is asked on which side of a border it lies.
        sorted_RV = scaled_RV.double().sort(dim=1, descending=True).values
        before_RV = sorted_RV.softmax(1).cumsum(1) - sorted_RV.softmax(1)
        last_R1 = (before_RV < top_p).sum(1, keepdim=True).clamp_min(1) - 1
        least_R1 = sorted_RV.gather(1, last_R1).to(scaled_RV.dtype)
        kept_R1 &= true_R1 >= least_R1
        scaled_RV = scaled_RV.masked_fill(scaled_RV < least_R1, -torch.inf)
    logp_R = (true_R1 - scaled_RV.logsumexp(1, keepdim=True))[:, 0].clamp_max(0.0)
    # What is no number stays so, to be refused.
    return logp_R.masked_fill(~kept_R1[:, 0] & ~logp_R.isnan(), -torch.inf)
