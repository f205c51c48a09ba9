"""Evidence from a model behind a server: the shelf's observations, made from strings and log-probabilities.

`SERVER_OBSERVATIONS` lists the available observations. Those in `TEXT_OBSERVATIONS` need only generated text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from byheart.auditing.server.generated_text import continuations_by_words, greedy_continuation
from byheart.auditing.server.served_model import EndpointModel, ScoredText
from byheart.core.evidence import Generations
from byheart.core.registry import Choice, choose, key_of
from byheart.core.types import LogProbs, Texts


def as_logprobs(readings: Sequence[ScoredText]) -> LogProbs:
    """Return the log-probabilities of scored texts as evidence."""
    starts = np.cumsum([0, *(len(r.logp) for r in readings)]).astype(np.int64)
    return LogProbs(logp=np.concatenate([r.logp for r in readings]), starts=starts)


class EndpointTexts(NamedTuple):
    """Texts as they were scored, and the model's answers for them (none without log-probabilities): the source of evidence."""

    texts: Texts
    readings: Sequence[ScoredText]


def lowercased(model: EndpointModel, read_texts: EndpointTexts) -> LogProbs:
    """Log-probabilities (nats) of the lowercased texts; a text that is already in lower case is not sent again."""
    texts, readings = read_texts.texts, list(read_texts.readings)
    changed = [i for i, text in enumerate(texts.scored) if text.lower() != text]
    if changed:
        lower = Texts(
            tuple(texts.ids[i] for i in changed),
            tuple(texts.scored[i].lower() for i in changed),
            tuple(texts.prompts[i] for i in changed),
        )
        for i, reading in zip(changed, model.read(lower), strict=True):
            readings[i] = reading
    return as_logprobs(readings)


def continuations(model: EndpointModel, read_texts: EndpointTexts) -> Generations:
    """Continuations of each text's first half, and the text's own second half, with the shelf's default settings.

    Each request has a seed from text and sample, which some servers ignore.
    """
    if not read_texts.readings:
        return continuations_by_words(model, read_texts.texts)
    settings = choose("observations", "continuations").settings
    samples = int(settings["samples"])
    sampling = {"temperature": settings["temperature"], "top_k": settings["top_k"], "top_p": 1, "min_p": 0}
    requests: list[dict[str, Any]] = []
    second_halves: list[str] = []
    for name, prompt, scored, reading in zip(
        read_texts.texts.ids, read_texts.texts.prompts, read_texts.texts.scored, read_texts.readings, strict=True
    ):
        half = len(reading.tokens) // 2
        first_half = scored[: reading.token_starts[half]]
        second_halves.append(scored[reading.token_starts[half] :])
        for sample in range(samples):
            seed = int(key_of({"text": name, "scored": scored, "sample": sample}), 16) % 2**31
            max_tokens = len(reading.tokens) - half
            requests.append({"prompt": prompt + first_half, "max_tokens": max_tokens, "seed": seed, **sampling})
    written = model.map_concurrently(model.generate, requests)
    return Generations(
        written=tuple(written), rest=tuple(second_halves), starts=samples * np.arange(len(second_halves) + 1)
    )


SERVER_OBSERVATIONS: Mapping[str, Callable[[EndpointModel, EndpointTexts], Any]] = {
    "target": lambda _, texts: as_logprobs(texts.readings),
    "lowercased": lowercased,
    "continuations": continuations,
    "greedy_continuation": lambda model, texts: greedy_continuation(model, texts.texts),
}
"""Observations that can be made from a server's answers, besides `base`, which is the base model's `target`."""


TEXT_OBSERVATIONS = frozenset({"continuations", "greedy_continuation"})
"""Observations that need only generated text."""
EXTRA_REQUESTS = {"lowercased": 1, "continuations": 10, "greedy_continuation": 1}
"""Approximate additional requests per text."""


@dataclass(frozen=True)
class ServerProvider:
    """Provides the evidence that can be made from a server's answers."""

    model: EndpointModel
    texts: EndpointTexts
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])

    def argument(self, name: str) -> Any:
        """Return evidence by name; a server provides no inputs such as models or tokens."""
        return self.evidence[name]

    def provide(self, observation: Choice, _: Callable[[], Any]) -> None:
        """Make the evidence from the server's answers instead of the shelf's computation."""
        self.evidence[observation.name] = SERVER_OBSERVATIONS[observation.name](self.model, self.texts)
