"""Evidence of a model behind a server: what observations of the shelf are where there are strings and log-probabilities alone.

A text is sent as its prompt and what is scored, joined; the server cuts it into tokens, and those that begin in the scored part
are scored, as many of them as an audit of the weights scores: `max_tokens` less what stands before. A token that spans prompt
and completion is not scored. A text that the server's context cannot hold loses its end, at a space.

`MADE` says which observations these are. An attack can be run where all that it asks for is here, and where it says by its
annotations that log-probabilities are enough: the rest of a distribution (`TokenStats`) no server tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from byheart.auditing.attack_evidence import split_attacks
from byheart.auditing.server.client import Endpoint, TooLongError
from byheart.auditing.server.echo import Echo, parse_echo
from byheart.core.attack_output import is_extraction_attack
from byheart.core.errors import DataError, ModelError
from byheart.core.evidence import Generations
from byheart.core.registry import Choice, choose, key_of, module_constant
from byheart.core.types import LogProbs, Texts

AT_ONCE = 4
"""Requests under way together: a server that computes one at a time loses nothing, others gain."""
LONGEST_TOKEN = 20
"""Characters a token of natural language seldom has: more than `max_tokens` times as many are not sent."""
SHORTER = 0.7
"""Share of a text that is sent again where the server's context cannot hold it."""

Item = TypeVar("Item")
Given = TypeVar("Given")


class ScoredText(NamedTuple):
    """What a server says of one text: its scored tokens, their log-probabilities (nats), and the string that is scored.

    `begins` says where in that string each token begins, `cut` that the text was read in part, `spans` that a token of its
    prompt reaches into it; `sure` is the echo's.
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
    """A model by its name at a server. `tick` is called after each text."""

    endpoint: Endpoint
    name: str
    max_tokens: int
    on_text: Callable[[], None] = lambda: None

    def read(self, texts: Texts) -> list[ScoredText]:
        """Return what the server says of each text; raises `ModelError` and `DataError` for the first that it cannot read."""
        return self.map_concurrently(self._reading, zip(texts.ids, texts.prompts, texts.scored, strict=True))

    def map_concurrently(self, function: Callable[[Given], Item], items: Iterable[Given]) -> list[Item]:
        """Return a function's results in the items' order, a few at a time; the first error ends the others."""

        def ticked(item: Given) -> Item:
            found = function(item)
            self.on_text()
            return found

        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            return list(pool.map(ticked, items))
        except BaseException:
            self.endpoint.close()  # what is under way need not be waited for
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def generate(self, request: Mapping[str, Any]) -> str:
        """Return what the server writes when it is asked so."""
        answer = self.endpoint.completion({"model": self.name, **request})
        try:
            text = answer["choices"][0]["text"]
        except (LookupError, TypeError):
            text = None
        if not isinstance(text, str):
            raise ModelError(
                f"{self.endpoint.url} answers a completion without its text; write the URL of an OpenAI-compatible API"
            )
        return text

    def _reading(self, text: tuple[str, str, str]) -> ScoredText:
        name, prompt, scored = text
        kept = _shortened(scored, LONGEST_TOKEN * self.max_tokens)
        while kept.strip():
            asked = {"prompt": prompt + kept, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}
            try:
                answer = self.endpoint.completion({"model": self.name, **asked})
                found = self._scored(parse_echo(answer, prompt + kept), prompt, kept, whole=len(scored))
            except TooLongError:
                kept = _shortened(kept, int(SHORTER * len(kept)))
                continue
            except ModelError as error:
                raise ModelError(_where(self.endpoint.url, name, error)) from error
            if not len(found.logp):
                raise DataError(f"text {name!r} has no token to score at {self.endpoint.url}; remove it")
            return found
        raise DataError(
            f"text {name!r} leaves no room for its completion in the context of {self.endpoint.url}; shorten its prompt"
        )

    def _scored(self, read: Echo, prompt: str, kept: str, *, whole: int) -> ScoredText:
        own = read.token_starts >= len(prompt)
        led = int((~own).sum())
        # As many as the weights' audit keeps, which leaves of a long prompt its last token.
        most = max(self.max_tokens - read.leading_tokens - min(led, 1), 0)
        end = min(led + most, len(own))
        own[end:] = False
        scored = kept[: int(read.token_starts[end]) - len(prompt)] if end < len(own) else kept
        spans = bool(prompt) and led < len(own) and int(read.token_starts[led]) > len(prompt)
        own &= ~np.isnan(read.logp)
        tokens = tuple(t for t, on in zip(read.tokens, own, strict=True) if on)
        return ScoredText(
            tokens,
            read.logp[own],
            read.token_starts[own] - len(prompt),
            scored,
            len(scored) < whole,
            spans,
            read.is_alignment_confirmed,
        )


def _where(url: str, name: str, error: ModelError) -> str:
    """Return an error that says which server and which text it is of, once."""
    told = str(error)
    return told if url in told else f"{url} {told} (text {name!r})"


def _shortened(text: str, most: int) -> str:
    """Return the beginning of a text, up to a space where there is one."""
    if len(text) <= most:
        return text
    at = max((text.rfind(space, most // 2, most) for space in " \n\t"), default=-1)
    return text[: at if at > 0 else most]


def as_logprobs(readings: Sequence[ScoredText]) -> LogProbs:
    """Return readings as evidence."""
    starts = np.cumsum([0, *(len(r.logp) for r in readings)]).astype(np.int64)
    return LogProbs(logp=np.concatenate([r.logp for r in readings]), starts=starts)


class EndpointTexts(NamedTuple):
    """Texts and how the model reads them: what further evidence is made of. `texts` are as they were scored."""

    texts: Texts
    readings: Sequence[ScoredText]


def lowercased(model: EndpointModel, read_texts: EndpointTexts) -> LogProbs:
    """Log-probabilities of the texts in lower case; a text that lower-casing leaves alone is not sent again."""
    lower = [(i, text.lower()) for i, text in enumerate(read_texts.texts.scored) if text.lower() != text]
    found = list(read_texts.readings)
    if lower:
        names, prompts = ([own[i] for i, _ in lower] for own in (read_texts.texts.ids, read_texts.texts.prompts))
        for (i, _), reading in zip(
            lower, model.read(Texts(tuple(names), tuple(t for _, t in lower), tuple(prompts))), strict=True
        ):
            found[i] = reading
    return as_logprobs(found)


def continuations(model: EndpointModel, read_texts: EndpointTexts) -> Generations:
    """What the model writes after the first half of each text, and the text's own second half, by the shelf's own settings.

    Seeded by text and sample, which not every server heeds.
    """
    settings = choose("observations", "continuations").settings
    samples = int(settings["samples"])
    sampling = {"temperature": settings["temperature"], "top_k": settings["top_k"], "top_p": 1, "min_p": 0}
    asked: list[dict[str, Any]] = []
    rests: list[str] = []
    for name, prompt, scored, reading in zip(
        read_texts.texts.ids, read_texts.texts.prompts, read_texts.texts.scored, read_texts.readings, strict=True
    ):
        half = len(reading.tokens) // 2
        begin, rest = scored[: reading.token_starts[half]], scored[reading.token_starts[half] :]
        rests.append(rest)
        for sample in range(samples):
            seed = int(key_of({"text": name, "scored": scored, "sample": sample}), 16) % 2**31
            most = len(reading.tokens) - half
            asked.append({"prompt": prompt + begin, "max_tokens": most, "seed": seed, **sampling})
    written = model.map_concurrently(model.generate, asked)
    return Generations(written=tuple(written), rest=tuple(rests), starts=samples * np.arange(len(rests) + 1))


SERVER_OBSERVATIONS: Mapping[str, Callable[[EndpointModel, EndpointTexts], Any]] = {
    "target": lambda _, seen: as_logprobs(seen.readings),
    "lowercased": lowercased,
    "continuations": continuations,
}
"""Observations of the shelf that a server's answers suffice for, besides `base`, which is another model's `target`."""


class ServerProvider:
    """Provides the evidence that a server's answers suffice for."""

    def __init__(self, model: EndpointModel, texts: EndpointTexts) -> None:
        """Read evidence from this model's answers on these texts."""
        self.evidence: dict[str, Any] = {}
        self._model, self._texts = model, texts

    def argument(self, name: str) -> Any:
        """Return evidence by name: a server gives no inputs of the shelf's observations."""
        return self.evidence[name]

    def provide(self, observation: Choice, _: Callable[[], Any]) -> None:
        """Make the evidence from the server's answers instead of the shelf's own computation."""
        self.evidence[observation.name] = SERVER_OBSERVATIONS[observation.name](self._model, self._texts)


EXTRA_REQUESTS = {"lowercased": 1, "continuations": 10}
"""About how many more requests a text costs."""
NEEDS_BASE = "needs the model that this one was tuned from; name it as it is called at the server (--base-name)"
NEEDS_DISTRIBUTION = (
    "needs the model's whole next-token distribution, of which a server tells the text's own tokens only"
)
NEEDS_ANNOTATION = "does not say that log-probabilities are enough; annotate what it takes as LogProbs"


def servable_attacks(attacks: Mapping[str, Choice], *, base: bool) -> tuple[dict[str, Choice], dict[str, str]]:
    """Return the attacks that can be run on what a server tells, and of the others why not.

    Raises `DataError` where none can be run.
    """
    return split_attacks(attacks, lambda attack: _reason_not_servable(attack, base=base))


def _reason_not_servable(attack: Choice, *, base: bool) -> str:
    """Return why an attack cannot be run on what a server tells; "" where it can."""
    if is_extraction_attack(attack):
        return "tells what a model writes word for word, which this audit asks no server for"
    for need in attack.needs:
        if need not in {"texts", "base", *SERVER_OBSERVATIONS}:
            asked = module_constant(choose("observations", need).function, "ADVERSARY", "")
            return f"needs the observation {need} ({asked}), which is not made of a server's answers"
    said = {n: _annotation_name(attack.function.__annotations__.get(n)) for n in attack.needs if n != "texts"}
    if "TokenStats" in said.values():
        return NEEDS_DISTRIBUTION
    if any(kind not in {"LogProbs", "Generations"} for kind in said.values()):
        return NEEDS_ANNOTATION
    return NEEDS_BASE if "base" in said and not base else ""


def _annotation_name(annotation: object) -> str:
    """Return the name of an annotation's type, without its module."""
    return (annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")).rpartition(".")[2]
