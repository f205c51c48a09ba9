"""Drift: measures how far fine-tuning moved each layer of the model, on members, non-members and validation texts.

Simon Kornblith, Mohammad Norouzi, Honglak Lee, Geoffrey Hinton. Similarity of Neural Network Representations Revisited. ICML,
2019. arXiv 1905.00414, compare representations of different networks, where only invariant measures apply. A fine-tuned model and
its base share their coordinates, so the distance itself is meaningful:

    hidden     = ||h - h_base|| / ||h_base||          relative L2 distance of hidden states
    cosine     = 1 - cos(h, h_base)
    attention  = total variation distance of attention weights, mean over heads
    virtual    = attention weight on virtual tokens, mean over heads
    next_token = KL(base || model) of the next-token distribution, nats per token

Each is a mean over the observed positions of a text, then over texts. Layer 0 is the input of the first layer, the embeddings.
`next_token` belongs to the whole model and has no layer. With `scoring.precision: bfloat16`, rounding alone moves a model whose
weights differ by a hundred-thousandth: on SmolLM2-135M by .01 in `hidden`, .004 in `attention` and .0003 nats in `next_token`;
float32 has no such floor. The interval is for the sampling of texts, with texts of a group together.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool

from byheart.core.activations import Drift
from byheart.core.errors import DataError
from byheart.core.types import Estimate
from byheart.metrics._means import mean_estimate

RANGE = (0.0, math.inf)
HIGHEST = {"hidden": math.inf, "cosine": 2.0, "attention": 1.0, "virtual": 1.0, "next_token": math.inf}


def drift(
    drift: Drift,
    validation_drift: Drift,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
    validation_groups: tuple[str, ...],
    *,
    measure: Literal["hidden", "cosine", "attention", "virtual", "next_token"] = "hidden",
) -> dict[str, Estimate]:
    """By layer and texts: mean distance of the model's internal states from the base model's; 0 is none, higher is farther.

    Raises `DataError` for attention of a model without attention weights.
    """
    is_member = membership[drift.text]
    classes = {
        "members": (drift, is_member, groups),
        "nonmembers": (drift, ~is_member, groups),
        "validation": (validation_drift, np.ones(len(validation_drift.text), dtype=np.bool_), validation_groups),
    }
    estimates: dict[str, Estimate] = {}
    for of, (moved, chosen, names) in classes.items():
        values_by_layer = getattr(moved, measure)[chosen].astype(np.float64).reshape(int(chosen.sum()), -1).T
        if not len(values_by_layer):
            raise DataError(
                f"metrics drift: measure = {measure}, but the model has no attention weights. Choose hidden, cosine or next_token."
            )
        text_groups = tuple(names[i] for i in moved.text[chosen])
        counts = {"members": len(text_groups)} if of == "members" else {"nonmembers": len(text_groups)}
        first_layer = 1 if measure in {"attention", "virtual"} else 0
        for layer, values in enumerate(values_by_layer, first_layer):
            if not len(values):
                continue
            label = f"of={of}" if measure == "next_token" else f"layer={layer}, of={of}"
            estimates[label] = mean_estimate(values, text_groups, low=0.0, high=HIGHEST[measure])._replace(**counts)
    return estimates
