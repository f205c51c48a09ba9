"""Evidence from a model behind a server: the shelf's observations, made from strings and log-probabilities.

A text is sent as its prompt and its scored string, joined. The server tokenizes it, and the tokens that begin in the
scored string are scored, as many as in an audit of the weights: `max_tokens` minus the tokens before them. A token that
spans prompt and completion is not scored. A text that is longer than the server's context is truncated at a space.
`SERVER_OBSERVATIONS` lists the available observations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from byheart.auditing.server.client import Endpoint, TooLongError
from byheart.auditing.server.echo import Echo, parse_echo
from byheart.core.errors import DataError, ModelError
from byheart.core.evidence import Generations
from byheart.core.registry import Choice, choose, key_of
from byheart.core.types import LogProbs, Texts

AT_ONCE = 4
"""Concurrent requests. A server that computes one at a time is not slowed down; others are faster."""
LONGEST_TOKEN = 20
"""Characters that few tokens of natural language exceed. At most `max_tokens` times as many characters are sent."""
SHORTER = 0.7
"""Share of a text that is sent again if the text is longer than the server's context."""

Item = TypeVar("Item")
Given = TypeVar("Given")


class ScoredText(NamedTuple):
    """A server's answer for one text: its scored tokens, their log-probabilities (nats), and the scored string.

    `token_starts` are the tokens' positions in that string. `has_spanning_token` is True if one token contains the end of
    the prompt and the beginning of the scored string. `is_alignment_confirmed` is the echo's.
    """

    tokens: tuple[str, ...]
    logp: Float[np.ndarray, " tokens"]
    token_starts: Int[np.ndarray, " tokens"]
    scored: str
    is_truncated: bool
    has_spanning_token: bool
    is_alignment_confirmed: bool


@dataclass(frozen=True)
class EndpointModel:
    """A model by its name at a server. `on_text` is called after each text."""

    endpoint: Endpoint
    name: str
    max_tokens: int
    on_text: Callable[[], None] = lambda: None

    def read(self, texts: Texts) -> list[ScoredText]:
        """Return the scored texts; raises `ModelError` or `DataError` for the first text that cannot be scored."""
        return self.map_concurrently(self._score, zip(texts.ids, texts.prompts, texts.scored, strict=True))

    def map_concurrently(self, function: Callable[[Given], Item], items: Iterable[Given]) -> list[Item]:
        """Return a function's results in the items' order, with concurrent calls; the first error stops the others."""

        def ticked(item: Given) -> Item:
            result = function(item)
            self.on_text()
            return result

        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            return list(pool.map(ticked, items))
        except BaseException:
            self.endpoint.close()  # requests under way need not finish
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def generate(self, request: Mapping[str, Any]) -> str:
        """Return the text that the server generates for this request."""
        answer = self.endpoint.completion({"model": self.name, **request})
        try:
            text = answer["choices"][0]["text"]
        except (LookupError, TypeError):
            text = None
        if not isinstance(text, str):
            raise ModelError(
                f"{self.endpoint.url}: the completion has no text. Write the URL of an OpenAI-compatible API."
            )
        return text

    def _score(self, text: tuple[str, str, str]) -> ScoredText:
        name, prompt, scored = text
        sent = _shortened(scored, LONGEST_TOKEN * self.max_tokens)
        while sent.strip():
            request = {"prompt": prompt + sent, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}
            try:
                answer = self.endpoint.completion({"model": self.name, **request})
                scored_text = self._select_scored(parse_echo(answer, prompt + sent), prompt, sent, len(scored))
            except TooLongError:
                sent = _shortened(sent, int(SHORTER * len(sent)))
                continue
            except ModelError as error:
                message = str(error)
                located = message if self.endpoint.url in message else f"{self.endpoint.url}, text {name!r}: {message}"
                raise ModelError(located) from error
            if not len(scored_text.logp):
                raise DataError(f"text {name!r}: {self.endpoint.url} returns no token to score. Remove the text.")
            return scored_text
        raise DataError(
            f"text {name!r}: its prompt leaves no room for the completion in the context of {self.endpoint.url}. Shorten the prompt."
        )

    def _select_scored(self, echo: Echo, prompt: str, sent: str, full_length: int) -> ScoredText:
        """Return the tokens that begin in the scored string; `full_length` is its number of characters before truncation."""
        is_scored = echo.token_starts >= len(prompt)
        prompt_tokens = int((~is_scored).sum())
        # As many tokens as an audit of the weights scores, which keeps one token of a long prompt.
        maximum = max(self.max_tokens - echo.leading_tokens - min(prompt_tokens, 1), 0)
        end = min(prompt_tokens + maximum, len(is_scored))
        is_scored[end:] = False
        scored = sent[: int(echo.token_starts[end]) - len(prompt)] if end < len(is_scored) else sent
        spans = bool(prompt) and prompt_tokens < len(is_scored) and int(echo.token_starts[prompt_tokens]) > len(prompt)
        is_scored &= ~np.isnan(echo.logp)
        tokens = tuple(t for t, selected in zip(echo.tokens, is_scored, strict=True) if selected)
        return ScoredText(
            tokens,
            echo.logp[is_scored],
            echo.token_starts[is_scored] - len(prompt),
            scored,
            len(scored) < full_length,
            spans,
            echo.is_alignment_confirmed,
        )


def _shortened(text: str, maximum: int) -> str:
    """Return at most `maximum` characters from the beginning of a text, up to a space if the second half has one."""
    if len(text) <= maximum:
        return text
    space = max((text.rfind(space, maximum // 2, maximum) for space in " \n\t"), default=-1)
    return text[: space if space > 0 else maximum]


def as_logprobs(readings: Sequence[ScoredText]) -> LogProbs:
    """Return the log-probabilities of scored texts as evidence."""
    starts = np.cumsum([0, *(len(r.logp) for r in readings)]).astype(np.int64)
    return LogProbs(logp=np.concatenate([r.logp for r in readings]), starts=starts)


class EndpointTexts(NamedTuple):
    """Texts as they were scored, and the model's answers for them: the source of further evidence."""

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
}
"""Observations that can be made from a server's answers, besides `base`, which is the base model's `target`."""


EXTRA_REQUESTS = {"lowercased": 1, "continuations": 10}
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
