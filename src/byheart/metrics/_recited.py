"""Shares of private values that a model generates verbatim, by kind."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.evidence import RecitedAttributes
from byheart.core.types import Estimate
from byheart.metrics._attributes import advantages, attributes_by_kind, share_estimates


def recited_estimates(
    recited: RecitedAttributes,
    recited_base: RecitedAttributes,
    membership: Bool[np.ndarray, " texts"],
    groups: tuple[str, ...],
) -> dict[str, Estimate]:
    """Return the shares by kind, with their controls. Equal texts of both models mean that the model is the base model."""
    hits, base_hits = _verbatim_hits(recited), _verbatim_hits(recited_base)
    is_fine_tuned = recited.written != recited_base.written
    estimates: dict[str, Estimate] = {}
    for kind_attributes in attributes_by_kind(recited, membership, groups):
        indices = kind_attributes.indices
        estimates |= share_estimates(hits[indices], kind_attributes, "recited") | advantages(
            hits[indices], base_hits[indices] if is_fine_tuned else None, kind_attributes
        )
        estimates[kind_attributes.label("left_out")] = Estimate(float(kind_attributes.left_out))
    return estimates


def _verbatim_hits(generated: RecitedAttributes) -> Float[np.ndarray, " attributes"]:
    """Return 1.0 for each attribute whose continuation begins with the expected text, else 0.0."""
    pairs = zip(generated.written, generated.expected, strict=True)
    return np.array([float(written.lstrip().startswith(expected.lstrip())) for written, expected in pairs])
