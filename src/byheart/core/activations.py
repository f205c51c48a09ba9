"""Types of evidence on a model's internal states at chosen positions, and on how far another model's are from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, kw_only=True)
class Activations:
    """Hidden states, attention weights and next-token distributions of a model at a few positions of some texts.

    Entry r is of token `position[r]` of text `text[r]`, which predicts the token after it. `hidden[r]` has the input of the first
    layer, then the output of each layer. Its attention weights on tokens 0 to `position[r]` are
    `attention[keys[r]:keys[r+1]]`, by layer with attention and head, rounded to float16. `top_ids` are its most likely next
    tokens, `top_logp` their log-probabilities (nats), `rest_logp` the log-probability of all other tokens together (minus
    infinity without other tokens).
    """

    text: Int[np.ndarray, " entries"]
    position: Int[np.ndarray, " entries"]
    hidden: Float[np.ndarray, "entries states width"]
    keys: Int[np.ndarray, " entries_plus_one"]
    attention: Float[np.ndarray, "keys layers heads"]
    top_ids: Int[np.ndarray, "entries tokens"]
    top_logp: Float[np.ndarray, "entries tokens"]
    rest_logp: Float[np.ndarray, " entries"]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Distance of a model's internal states from the base model's on the same tokens, by text and layer; 0 is no drift.

    The means over the observed positions of text `text[i]` are `hidden[i]` and the others. `hidden` is the relative L2 distance
    of hidden states, `cosine` 1 minus their cosine (0 to 2): of the first layer's input, then of each layer's output.
    `attention` is the total variation distance of attention weights (0 to 1), mean over heads, and `virtual` the attention on
    virtual tokens (0 to 1): of each layer with attention. `next_token` is KL(base || model) of the next token (nats).
    """

    text: Int[np.ndarray, " texts"]
    hidden: Float[np.ndarray, "texts states"]
    cosine: Float[np.ndarray, "texts states"]
    attention: Float[np.ndarray, "texts layers"]
    virtual: Float[np.ndarray, "texts layers"]
    next_token: Float[np.ndarray, " texts"]
