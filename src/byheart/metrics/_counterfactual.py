"""Counterfactual memorization of each audited text, from shadow models that were trained with and without it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from byheart.core import ragged
from byheart.core.evidence import Shadows


def counterfactual_gains(shadows: Shadows) -> Float[np.ndarray, " texts"]:
    """Return each text's mean log-probability per token (nats), inside mean minus outside mean over shadow models."""
    means = np.stack([ragged.means(logp, shadows.starts) for logp in shadows.logp])
    inside = shadows.inside.astype(np.float64)
    return (means * inside).sum(0) / inside.sum(0) - (means * (1 - inside)).sum(0) / (1 - inside).sum(0)
