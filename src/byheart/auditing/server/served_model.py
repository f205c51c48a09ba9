"""A model behind a server: it reads texts, with log-probabilities, and generates text.

A text is sent as its prompt and its scored string, joined. The server tokenizes it, and the tokens that begin in the
scored string are scored, as many as in an audit of the weights: `max_tokens` minus the tokens before them. A token that
spans prompt and completion is not scored. A text that is longer than the server's context is truncated at a space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from byheart.auditing.server.client import Endpoint, StatusError, TooLongError
from byheart.auditing.server.echo import Echo, parse_echo
from byheart.auditing.server.logprobs import NoLogprobsError
from byheart.auditing.server.spellings import Decode, TokenIdsError
from byheart.core.errors import DataError, ModelError
from byheart.core.types import Texts

AT_ONCE = 4
"""Concurrent requests. A server that computes one at a time is not slowed down; others are faster."""
LONGEST_TOKEN = 20
"""Characters that few tokens of natural language exceed. At most `max_tokens` times as many characters are sent."""
SHORTER = 0.7
"""Share of a text that is sent again if the text is longer than the server's context."""
REJECTED = frozenset({400, 422})
"""Statuses of a server that rejects a request's content."""
ABSENT = frozenset({404, 405, 501})
"""Statuses of a server that does not have an interface."""
NEUTRAL: Mapping[str, float] = {"repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""No penalty of repeated tokens. vLLM and SGLang otherwise apply those of the model's generation_config.json."""
OPTIONAL = ("top_k", "min_p", "top_p", "seed", *NEUTRAL)
"""Sampling settings that some services reject; the request is then sent without them."""
TEXT_ATTACKS = ("samia", "discoverable", "approximate")
"""Attacks that need only generated text."""

Item = TypeVar("Item")
Given = TypeVar("Given")


class ChatOnlyError(ModelError):
    """A server that answers chats only."""


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
    """A model by its name at a server. `on_text` is called after each text.

    `decode` decodes a token id, if the model's tokenizer is known. With `is_chat`, prompts are sent as a user's message.
    `rejected` and `accepted` collect the sampling settings that the server rejects, and those of requests that it answered.
    """

    endpoint: Endpoint
    name: str
    max_tokens: int
    on_text: Callable[[], None] = lambda: None
    decode: Decode | None = None
    is_chat: bool = False
    rejected: set[str] = field(default_factory=set[str])
    accepted: set[str] = field(default_factory=set[str])
    _extra: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def read(self, texts: Texts) -> list[ScoredText]:
        """Return the scored texts; raises `ModelError` or `DataError` for the first text that cannot be scored."""
        return self.map_concurrently(self.score, zip(texts.ids, texts.prompts, texts.scored, strict=True))

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
        """Return the text that the server generates for this request; a lone surrogate, which no file can contain, becomes "?"."""
        body = dict(request)
        if self.is_chat:
            body |= {"messages": [{"role": "user", "content": body.pop("prompt")}]}
        answer = self._complete(body, "/chat/completions" if self.is_chat else "/completions")
        try:
            choice = answer["choices"][0]
            text = (choice["message"]["content"] or "") if self.is_chat else choice["text"]
        except (LookupError, TypeError):
            text = None
        if not isinstance(text, str):
            raise ModelError(
                f"{self.endpoint.url}: the completion has no text. Write the URL of an OpenAI-compatible API."
            )
        return text.encode(errors="replace").decode()

    def _complete(self, request: Mapping[str, Any], path: str = "/completions") -> dict[str, Any]:
        """Return the server's answer, without penalties of repetition; a setting that the server rejects is left out."""
        while True:
            sent = {"model": self.name, **NEUTRAL, **request}
            sent = {n: v for n, v in sent.items() if n not in self.rejected}
            optional = {n for n in OPTIONAL if n in sent}
            try:
                answer = self.endpoint.completion(sent, path)
            except StatusError as error:
                untried = optional - self.accepted
                if error.status not in REJECTED or not untried:
                    raise
                if named := {n for n in untried if n in str(error)}:
                    self.rejected.update(named)
                    continue
            else:
                self.accepted.update(optional)
                return answer
            # Some services do not name the setting that they reject.
            answer = self.endpoint.completion({n: v for n, v in sent.items() if n not in untried}, path)
            self.rejected.update(untried)
            return answer

    def echo(self, text: str, max_generated: int = 1) -> Echo:
        """Return the log-probabilities of a text, and of at most `max_generated` tokens that the model generates after it.

        Raises `NoLogprobsError`, `ChatOnlyError` or `TooLongError` for a server that does not return them, and as
        `parse_echo` does.
        """
        request = {"prompt": text, "max_tokens": max_generated, "temperature": 0, "logprobs": 1, "echo": True}
        try:
            answer = self._complete({**request, **self._extra})
        except StatusError as error:
            raise _no_echo(error) from error
        try:
            return parse_echo(answer, text, self.decode, max_generated)
        except TokenIdsError as ids_error:
            # vLLM's option for all requests can be undone for one.
            undone = {"return_tokens_as_token_ids": False}
            try:
                answer = self._complete({**request, **undone})
                echo = parse_echo(answer, text, self.decode, max_generated)
            except ModelError:
                raise ids_error from None
            self._extra.update(undone)
            return echo

    def score(self, text: tuple[str, str, str]) -> ScoredText:
        """Return the answer for one text, given as id, prompt and scored string; raises as `read` does."""
        name, prompt, scored = text
        sent = shortened(scored, LONGEST_TOKEN * self.max_tokens)
        while sent.strip():
            try:
                scored_text = self._select_scored(self.echo(prompt + sent), prompt, sent, len(scored))
            except TooLongError:
                sent = shortened(sent, int(SHORTER * len(sent)))
                continue
            except ModelError as error:
                message = str(error)
                located = message if self.endpoint.url in message else f"{self.endpoint.url}, text {name!r}: {message}"
                raise type(error)(located) from error
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


def shortened(text: str, maximum: int) -> str:
    """Return at most `maximum` characters from the beginning of a text, up to a space if the second half has one."""
    if len(text) <= maximum:
        return text
    space = max((text.rfind(space, maximum // 2, maximum) for space in " \n\t"), default=-1)
    return text[: space if space > 0 else maximum]


def _no_echo(error: StatusError) -> ModelError:
    """Return what an error status says about a server's log-probabilities: it serves chats only, or returns none."""
    message = str(error)
    fix = f"Run the attacks that need only generated text: --attacks {','.join(TEXT_ATTACKS)}."
    if error.status in ABSENT or (error.status in REJECTED and "chat" in message.lower()):
        return ChatOnlyError(f"{message} A chat interface returns no log-probabilities of what it reads. {fix}")
    if error.status in REJECTED and any(word in message.lower() for word in ("echo", "logprobs")):
        return NoLogprobsError(f"{message} The server returns no log-probabilities of what it reads. {fix}")
    return error
