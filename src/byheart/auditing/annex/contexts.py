"""Which adversaries count, by how a model is used.

An adversary counts if a person outside the training could have what the attack needs. An attack that needs more is listed with its
number, but it is no evidence in that context.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from byheart.core.adversary import Access

Context = Literal["public-api", "weights", "internal"]
DEFAULT_CONTEXT: Context = "weights"
"""The context in which most adversaries outside the organization count."""

EXCLUDED: Mapping[Context, frozenset[Access]] = {
    "public-api": frozenset({Access.DISTRIBUTIONS, Access.WEIGHTS, Access.EVERY_EPOCH, Access.TRAINING_TEXTS}),
    "weights": frozenset({Access.EVERY_EPOCH, Access.TRAINING_TEXTS}),
    "internal": frozenset({Access.DISTRIBUTIONS, Access.WEIGHTS, Access.EVERY_EPOCH}),
}
"""What no adversary has in a context. A server returns the most likely tokens at most, not whole distributions."""

MEANINGS: Mapping[Context, str] = {
    "public-api": "outsiders query the model through an interface that may return log-probabilities of tokens",
    "weights": "outsiders have the weights",
    "internal": "colleagues query the model through an interface and may know other training texts",
}


def counts(adversary: str, context: Context) -> bool:
    """Whether an adversary, by its label as in tables, counts in a context; an unknown label counts."""
    has = set(adversary.split(" + "))
    return not any(access.label in has for access in EXCLUDED[context])
