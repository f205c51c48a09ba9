"""Sampling probability of each token after temperature, top-k and top-p, from one forward pass.

The order is that of transformers: divide logits by the temperature, keep the `top_k` largest, then keep the smallest set
of most likely tokens with a total probability of `top_p`. All tokens that tie with the last of the `top_k` are kept, as in
transformers. A removed token is never sampled: its log-probability is minus infinity.

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
    """Return the log-probability (nats) of sampling each scored token after the text's preceding tokens.

    Raises `ModelError` if the model returns NaN.
    """

    def reduce(logits_RV: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
        return row_sampling_logprobs(logits_RV, true_R, temperature, top_k, top_p)[None]

    logprobs = reduce_logits(
        scorer.model, tokens, reduce, values_per_token=1, budget=scorer.budget, precision=scorer.precision
    )[0]
    if np.isnan(logprobs).any():
        raise ModelError(
            f"model {scorer.model.name!r}: probabilities are not numbers (NaN). Try precision float32, or check the model's weights."
        )
    return logprobs


def row_sampling_logprobs(
    logits_RV: torch.Tensor, true_R: torch.Tensor, temperature: float, top_k: int | None, top_p: float
) -> torch.Tensor:
    """Return the log-probability (R) of sampling each row's true token."""
    scaled_RV = logits_RV / temperature
    true_R1 = scaled_RV.gather(1, true_R[:, None])
    kept_R1 = torch.ones_like(true_R1, dtype=torch.bool)
    if top_k is not None and top_k < scaled_RV.shape[1]:
        smallest_R1 = scaled_RV.topk(top_k).values[:, -1:]
        kept_R1 = true_R1 >= smallest_R1
        scaled_RV = scaled_RV.masked_fill(scaled_RV < smallest_R1, -torch.inf)
    if top_p < 1:
        # Double precision: the sum of many probabilities is compared with a threshold.
        sorted_RV = scaled_RV.double().sort(dim=1, descending=True).values
        preceding_RV = sorted_RV.softmax(1).cumsum(1) - sorted_RV.softmax(1)
        last_R1 = (preceding_RV < top_p).sum(1, keepdim=True).clamp_min(1) - 1
        smallest_R1 = sorted_RV.gather(1, last_R1).to(scaled_RV.dtype)
        kept_R1 &= true_R1 >= smallest_R1
        scaled_RV = scaled_RV.masked_fill(scaled_RV < smallest_R1, -torch.inf)
    logp_R = (true_R1 - scaled_RV.logsumexp(1, keepdim=True))[:, 0].clamp_max(0.0)
    # NaN stays NaN, so that the caller can raise an error.
    return logp_R.masked_fill(~kept_R1[:, 0] & ~logp_R.isnan(), -torch.inf)
