"""Client of an OpenAI-compatible server: requests with retries and a limit. Imports no torch.

Temporary failures (no connection, a slow answer, 408, 429, 5xx) are retried after a wait that doubles, or that the server
states in Retry-After. Every attempt counts toward the limit. The API key is read only from the environment, is sent in
one header, and is removed from every answer before it is shown.
"""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx2

from byheart.auditing.server.address import API_KEY_VARIABLE, api_key, api_url, is_local
from byheart.core.errors import ModelError, SettingError
from byheart.core.time_limit import LimitError, limited

MAX_ATTEMPTS = 5
MAX_TIMEOUTS = 2
"""Maximum number of timeouts per request: a server that computes for minutes is rarely faster at the third attempt."""
CONNECT_TIMEOUT = 20.0
"""Maximum seconds to connect."""
RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
LONGEST_WAIT = 30.0
LARGEST_ANSWER = 1 << 28
"""Maximum bytes of an answer."""
ENCODING = "gzip"
"""The only compression of answers that is accepted, once."""
MAX_QUOTED_CHARACTERS = 200
"""Maximum characters of a server's error message that byheart quotes."""
FILLED_CONTEXT = b"max_tokens must be at least 1, got 0"
"""vLLM's message if a text has exactly as many tokens as the context, which leaves none to generate."""


class TooLongError(ModelError):
    """A text that is longer than the context of the server's model."""


class StatusError(ModelError):
    """An answer with an error status (`status`)."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Timeout of an answer (seconds), maximum number of requests, and the wait before the first retry (seconds)."""

    timeout: float = 600.0
    max_requests: int = 10_000
    wait: float = 0.5

    def __post_init__(self) -> None:
        """Raise `SettingError` for a timeout that is not above 0 or finite, and for a limit below 1."""
        if not 0 < self.timeout < float("inf"):
            raise SettingError(f"timeout = {self.timeout:g}: the value is not a finite number above 0. Write seconds.")
        if self.max_requests < 1:
            raise SettingError(
                f"max_requests = {self.max_requests}: the value is below 1. Write a whole number above 0."
            )


@dataclass(eq=False)
class Endpoint:
    """A server by its URL. `requests_sent` counts attempts. Thread-safe.

    Raises `SettingError` for an invalid URL, and for a URL that contains a key, because results store the URL.
    """

    url: str
    limits: RequestLimits = field(default_factory=RequestLimits)
    requests_sent: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the URL and the key, and create a connection pool; no request is sent."""
        self.url = api_url(self.url)
        self._key = api_key()
        self._closed = threading.Event()
        # Not brotli or Zstandard, of which a kilobyte can contain a gigabyte.
        headers = {"Accept-Encoding": ENCODING, **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        self._client = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(self.limits.timeout, connect=min(CONNECT_TIMEOUT, self.limits.timeout)),
            # A redirect would send texts, and perhaps the key, to a server that the user did not name.
            follow_redirects=False,
            # A server on this machine is not reached through a proxy.
            trust_env=not is_local(self.url),
        )

    def close(self) -> None:
        """Close the connections and end all waits before retries."""
        self._closed.set()
        self._client.close()

    def models(self) -> tuple[str, ...] | None:
        """Return the names of the models that the server lists; None if it has no list."""
        status, answer = self._request("GET", "/models", None)
        if status in {404, 405, 501}:
            return None
        listed = self._parse_response(status, answer, "GET /models").get("data")
        if not isinstance(listed, list):
            raise ModelError(
                f"{self.url}/models: the answer contains no list of models. Write the URL of an OpenAI-compatible API."
            )
        return tuple(str(m["id"]) for m in listed if isinstance(m, dict) and "id" in m)

    def completion(self, request: dict[str, Any], path: str = "/completions") -> dict[str, Any]:
        """Return the server's answer to a completion request, or to a chat with the path "/chat/completions".

        Raises `TooLongError` if the text is longer than the context, `StatusError` for another error status, `ModelError`
        for any other error.
        """
        status, answer = self._request("POST", path, request)
        return self._parse_response(status, answer, f"POST {path}")

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        """Return status and body of an answer, with retries; raises `ModelError` after the last attempt."""
        wait, problem, fix, attempt, timeouts = self.limits.wait, "", "", 0, 0
        while attempt < MAX_ATTEMPTS and timeouts < MAX_TIMEOUTS:
            if attempt:
                self._closed.wait(min(wait, LONGEST_WAIT) * (1 + 0.25 * random.random()))  # noqa: S311 - spreads the threads
                wait *= 2
            if self._closed.is_set():
                raise ModelError(
                    f"{self.url}: request not sent, because another request failed. See the error of that request."
                )
            self._count()
            attempt += 1
            try:
                status, answer, retry_after = self._request_once(method, path, body)
            except (httpx2.ReadTimeout, httpx2.WriteTimeout):
                problem, fix = f"no answer within {self.limits.timeout:g} seconds", "Allow more time with --timeout."
                timeouts += 1
                continue
            except httpx2.TransportError as error:
                problem = f"cannot be reached ({self._redacted(str(error))})"
                fix = "Start the server, or correct the URL."
                continue
            except httpx2.HTTPError as error:
                raise ModelError(
                    f"{self.url}: the answer is not valid HTTP ({self._redacted(str(error))}). Correct the URL."
                ) from None
            if status not in RETRY_STATUSES:
                return status, answer
            problem, fix = f"status {status}: {self._error_text(answer)}", "Check the server."
            wait = max(wait, retry_after)
            if _is_too_long(status, answer):
                return status, answer
        raise ModelError(f"{self.url}: {problem} ({attempt} attempts). {fix}")

    def _request_once(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes, float]:
        """Return status, body and Retry-After (seconds; 0 if absent) of one attempt; raises `ReadTimeout` after the timeout."""
        # The client's timeout is per chunk: a server that sends single bytes of its headers or its answer would never time out.
        try:
            with limited(seconds=self.limits.timeout, memory_bytes=float("inf")):
                return self._answer(method, path, body)
        except LimitError:
            raise httpx2.ReadTimeout("the answer does not end") from None

    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes, float]:
        content = bytearray()
        with self._client.stream(method, self.url + path, json=body) as response:
            if response.headers.get("content-encoding", ENCODING).strip().lower() not in {ENCODING, "identity", ""}:
                raise httpx2.DecodingError("its compression was not requested", request=response.request)
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > LARGEST_ANSWER:
                    raise httpx2.DecodingError(f"more than {LARGEST_ANSWER >> 20} MiB", request=response.request)
            retry_after = response.headers.get("retry-after", "")
        return response.status_code, bytes(content), float(retry_after) if retry_after.isdecimal() else 0.0

    def _count(self) -> None:
        with self._lock:
            if self.requests_sent >= self.limits.max_requests:
                raise ModelError(
                    f"{self.url}: all {self.limits.max_requests} allowed requests were sent. Allow more with --max-requests, or audit "
                    "fewer texts with --max-texts."
                )
            self.requests_sent += 1

    def _parse_response(self, status: int, answer: bytes, what: str) -> dict[str, Any]:
        if _is_too_long(status, answer):
            raise TooLongError(f"{self.url}: the text is longer than the context ({self._error_text(answer)}).")
        if status in {401, 403}:
            raise ModelError(
                f"{self.url}: the server rejects the API key ({status}: {self._error_text(answer)}). Set {API_KEY_VARIABLE} in the "
                "environment."
            )
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own classes
            raise StatusError(
                f"{self.url}: {what} returned status {status}: {self._error_text(answer)}. See the server's log.",
                status,
            )
        try:
            content = json.loads(answer)
        except (ValueError, RecursionError):
            raise ModelError(
                f"{self.url}: the answer to {what} is not JSON: {self._error_text(answer)}. Write the URL of an OpenAI-compatible API."
            ) from None
        if not isinstance(content, dict):
            raise ModelError(
                f"{self.url}: the answer to {what} is a {type(content).__name__}, not a JSON object. Write the URL of an OpenAI-compatible "
                "API."
            )
        return content

    def _error_text(self, answer: bytes) -> str:
        """Return the server's error message as one short line without the key."""
        text = answer[:4096].decode("utf-8", "replace")
        try:
            error = json.loads(answer)
            text = _message(error.get("error", error.get("detail", error)) if isinstance(error, dict) else error)
        except (ValueError, RecursionError):
            pass
        return self._redacted(text) or "nothing"

    def _redacted(self, message: str) -> str:
        line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
        line = line.replace(self._key, "***") if self._key else line
        return line if len(line) <= MAX_QUOTED_CHARACTERS else f"{line[:MAX_QUOTED_CHARACTERS]}..."


def _message(error: Any) -> str:
    """Return the message of an error, without the request (a text) that some servers return with it."""
    if isinstance(error, list):
        return "; ".join(_message(item) for item in error)
    if isinstance(error, dict):
        return _message(next((error[n] for n in ("message", "msg", "error", "detail") if n in error), "no reason"))
    return str(error)


def _is_too_long(status: int, answer: bytes) -> bool:
    """Whether an error message is about the context length; servers use different status codes for it."""
    message = answer[:4096].lower()
    is_error = 400 <= status <= 500  # noqa: PLR2004 - HTTP's classes
    names_context = b"context" in message and any(w in message for w in (b"length", b"window", b"exceed"))
    return is_error and (names_context or FILLED_CONTEXT in message)
