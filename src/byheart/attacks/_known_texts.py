"""Code shared by attacks that are fitted on known texts: standardized features, and a logistic regression."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from byheart.core import Scores

Features = Float[np.ndarray, "texts features"]
KnownFeatures = Float[np.ndarray, "known features"]


def standardize(known_features: KnownFeatures, features: Features) -> tuple[KnownFeatures, Features]:
    """Standardize both by mean and standard deviation of the known features; a column that is constant there becomes zero."""
    mean, spread = known_features.mean(0), known_features.std(0)
    is_varying = spread > 1e-9 * np.maximum(np.abs(mean), 1e-9)
    scale = np.where(is_varying, spread, 1.0)
    return (known_features - mean) / scale * is_varying, (features - mean) / scale * is_varying


def log_odds(known_features: KnownFeatures, is_member: Bool[np.ndarray, " known"], features: Features) -> Scores:
    """Return the log-odds of membership from a logistic regression fitted on the known texts."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(known_features, is_member)
    # Not scikit-learn's own product: there the last bit of a score depends on the number of texts.
    return (features * model.coef_[0]).sum(1) + model.intercept_[0]
