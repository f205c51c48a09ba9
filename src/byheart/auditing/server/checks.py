"""Checks of a server before and during scoring: listed models, repeated answers, positions of log-probabilities, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from byheart.auditing.server.client import Endpoint
from byheart.auditing.server.served_model import EndpointModel, ScoredText
from byheart.auditing.settings import MODEL_EQUALS_BASE
from byheart.core.errors import ModelError, UnknownNameError
from byheart.core.types import Texts

MAX_PROBES = 8
"""Maximum number of beginnings of texts to send until one confirms the positions of log-probabilities."""
MIN_PROBE_CHARACTERS = 20
"""Characters that contain several tokens in any language."""
SAME_MODEL = 2.0
"""Two models' answers must differ by more than this many times the difference of repeated answers."""
REPEAT_TOLERANCE = 1e-3
"""Difference of two answers for the same text (nats per token) above which the audit warns."""


def check_models_listed(endpoint: Endpoint, names: Sequence[str]) -> list[str]:
    """Return a warning if the server lists no models.

    Raises `UnknownNameError` for a name that it does not list, because some servers then answer with another model.
    """
    listed = endpoint.models()
    if listed is None:
        return [f"{endpoint.url} lists no models, so byheart cannot verify that it served {', '.join(names)}"]
    for name in names:
        if name not in listed:
            raise UnknownNameError(f"the model at {endpoint.url}", name, listed)
    return []


class Probed(NamedTuple):
    """Warnings about unstable answers, and the largest mean difference of two answers for one text (nats per token)."""

    doubts: list[str]
    repeat_difference: float


def probe_models(models: Iterable[EndpointModel], texts: Texts) -> Probed:
    """Send beginnings of texts to each model, the first one twice.

    Raises `ModelError` if no answer confirms the positions of the log-probabilities.
    """
    doubts: list[str] = []
    repeat_difference = 0.0
    for model in models:
        difference = 0.0
        for i in range(min(MAX_PROBES, len(texts))):
            probe = Texts((texts.ids[i],), (_half(texts.scored[i]),), (texts.prompts[i],))
            first = _read_one(model, probe)
            if i == 0:
                second = _read_one(model, probe)
                check_same_tokens([first], [second])
                differences = np.abs(first.logp - second.logp)
                difference = float(differences.max())
                repeat_difference = max(repeat_difference, float(differences.mean()))
            if first.is_alignment_confirmed:
                break
        else:
            raise ModelError(
                f"{model.endpoint.url}: the positions of {model.name}'s log-probabilities cannot be verified, because it generated no "
                f"suitable token after {min(MAX_PROBES, len(texts))} text prefixes. Provide other texts, or audit the weights."
            )
        if difference > REPEAT_TOLERANCE:
            doubts.append(
                f"{model.name} returns different log-probabilities when the same text is sent again (up to {difference:.2g} nats per token)"
            )
    return Probed(doubts, repeat_difference)


def check_models_differ(
    model: Float[np.ndarray, " tokens"], base: Float[np.ndarray, " tokens"], repeat_difference: float
) -> None:
    """Raise `ModelError` if log-probabilities (nats) of model and base model differ no more than those of repeated texts."""
    if np.array_equal(model, base):
        raise ModelError(MODEL_EQUALS_BASE)
    difference = float(np.abs(model - base).mean())
    if difference <= SAME_MODEL * repeat_difference:
        raise ModelError(
            f"model and base: the log-probabilities differ by {difference:.2g} nats per token on average, and those of a repeated text "
            f"by {repeat_difference:.2g}, so both names may serve the same weights. Load the adapter, or name the base model's own name."
        )


def _half(text: str) -> str:
    """Return the first half of a text, or a short text whole: after a whole training text, a model often generates nothing."""
    half = text[: len(text) // 2]
    return half if len(half.strip()) >= MIN_PROBE_CHARACTERS else text


def _read_one(model: EndpointModel, text: Texts) -> ScoredText:
    """Return one text's answer. An error leaves the connection open, because other requests may follow."""
    return model.score((text.ids[0], text.prompts[0], text.scored[0]))


def check_same_tokens(readings: Sequence[ScoredText], base_readings: Sequence[ScoredText]) -> None:
    """Raise `ModelError` if a model tokenizes or truncates the texts differently from its base model."""
    if any(reading.tokens != base.tokens for reading, base in zip(readings, base_readings, strict=True)):
        raise ModelError(
            "model and base: they tokenize or truncate the texts differently, so they cannot be compared. Name the base model that the "
            "model was fine-tuned from."
        )
