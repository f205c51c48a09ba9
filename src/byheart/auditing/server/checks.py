"""Checks of a server before and during scoring: listed models, repeated answers, positions of log-probabilities, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from byheart.auditing.server.client import Endpoint
from byheart.auditing.server.evidence import EndpointModel, ScoredText
from byheart.core.errors import ModelError, UnknownNameError
from byheart.core.types import Texts

MAX_PROBES = 8
"""Maximum number of beginnings of texts to send until one confirms the positions of log-probabilities."""
MIN_PROBE_CHARACTERS = 20
"""Characters that contain several tokens in any language."""
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


def probe_models(models: Iterable[EndpointModel], texts: Texts) -> list[str]:
    """Send beginnings of texts to each model, the first one twice; return warnings about unstable answers.

    Raises `ModelError` if no answer confirms the positions of the log-probabilities.
    """
    doubts: list[str] = []
    for model in models:
        difference = 0.0
        for i in range(min(MAX_PROBES, len(texts))):
            probe = Texts((texts.ids[i],), (_half(texts.scored[i]),), (texts.prompts[i],))
            first = _read_one(model, probe)
            if i == 0:
                second = _read_one(model, probe)
                check_same_tokens([first], [second])
                difference = float(np.abs(first.logp - second.logp).max())
            if first.is_alignment_confirmed:
                break
        else:
            raise ModelError(
                f"{model.endpoint.url}: {model.name} generated no token after {min(MAX_PROBES, len(texts))} beginnings of texts that "
                "confirms the positions of its log-probabilities. Provide other texts, or audit the weights."
            )
        if difference > REPEAT_TOLERANCE:
            doubts.append(
                f"{model.name} returns different log-probabilities when the same text is sent again (up to {difference:.2g} nats per token)"
            )
    return doubts


def _half(text: str) -> str:
    """Return the first half of a text, or a short text whole: after a whole training text, a model often generates nothing."""
    half = text[: len(text) // 2]
    return half if len(half.strip()) >= MIN_PROBE_CHARACTERS else text


def _read_one(model: EndpointModel, text: Texts) -> ScoredText:
    return EndpointModel(model.endpoint, model.name, model.max_tokens).read(text)[0]


def check_same_tokens(readings: Sequence[ScoredText], base_readings: Sequence[ScoredText]) -> None:
    """Raise `ModelError` if a model tokenizes or truncates the texts differently from its base model."""
    if any(reading.tokens != base.tokens for reading, base in zip(readings, base_readings, strict=True)):
        raise ModelError(
            "model and base: they tokenize or truncate the texts differently, so they cannot be compared. Name the base model that the "
            "model was fine-tuned from."
        )
