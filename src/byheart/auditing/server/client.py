"""A model behind an OpenAI-compatible server: requests, with patience and within a limit. No torch here.

Failures that may pass (no connection, a slow answer, 408, 429, 5xx) are tried again after a wait that doubles, or that the
server names in Retry-After. Every attempt counts towards the limit. The key comes from the environment alone, goes out in one
header, and is taken out of everything that a server answers before it is shown.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

from byheart.core.errors import ModelError, SettingError

API_KEY_VARIABLE = "BYHEART_API_KEY"
"""Where the key is read from. Not another service's variable: its key must not travel to whatever URL is audited."""
MAX_ATTEMPTS = 5
MAX_TIMEOUTS = 2
"""Attempts that may pass without an answer in time: a server that computes for minutes is seldom quicker the third time."""
CONNECT_TIMEOUT = 20.0
"""Seconds within which a server that is there takes a connection."""
RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
LONGEST_WAIT = 30.0
LARGEST_ANSWER = 1 << 28
"""Bytes of an answer above which it is no answer to one text."""
MAX_QUOTED_CHARACTERS = 200
"""Characters of a server's own words that are quoted."""


class TooLongError(ModelError):
    """A text that the server's context cannot hold."""


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """How long an answer is waited for (seconds), how many requests there may be, and the first wait before another try."""

    timeout: float = 600.0
    max_requests: int = 10_000
    wait: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a timeout that is not above 0, and no requests at all."""
        if not 0 < self.timeout < float("inf"):
            raise SettingError(f"timeout = {self.timeout:g}: write seconds above 0")
        if self.max_requests < 1:
            raise SettingError(f"max_requests = {self.max_requests}: write a whole number above 0")


@dataclass(eq=False)
class Endpoint:
    """A server by its URL. `sent` counts the attempts so far; safe for several threads.

    Raises `SettingError` for a URL that is none, or that holds a key: URLs are kept beside results.
    """

    url: str
    limits: RequestLimits = field(default_factory=RequestLimits)
    requests_sent: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the URL and the key, and open a pool of connections; nothing is sent."""
        self.url = api_url(self.url)
        self._key = _key()
        self._closed = threading.Event()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(self.limits.timeout, connect=min(CONNECT_TIMEOUT, self.limits.timeout)),
            # A redirect would carry texts, and perhaps the key, to a place that nobody named.
            follow_redirects=False,
            # What runs on this machine is not reached through a proxy.
            trust_env=not is_local(self.url),
        )

    def close(self) -> None:
        """Give the connections back; who waits for another attempt waits no longer."""
        self._closed.set()
        self._client.close()

    def models(self) -> tuple[str, ...] | None:
        """Return the names of the models that the server lists; None where it keeps no list."""
        status, answer = self._request("GET", "/models", None)
        if status in {404, 405, 501}:
            return None
        listed = self._parse_response(status, answer, "GET /models").get("data")
        if not isinstance(listed, list):
            raise ModelError(
                f"{self.url}/models answers without a list of models; write the URL of an OpenAI-compatible API"
            )
        return tuple(str(m["id"]) for m in listed if isinstance(m, dict) and "id" in m)

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the server's answer to a request for a completion.

        Raises `TooLongError` where the text is longer than the context, `ModelError` for any other answer but JSON.
        """
        status, answer = self._request("POST", "/completions", request)
        return self._parse_response(status, answer, "POST /completions")

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        """Return status and body of an answer, after as many attempts as it takes or are allowed."""
        wait, why, attempt, late = self.limits.wait, "", 0, 0
        while attempt < MAX_ATTEMPTS and late < MAX_TIMEOUTS:
            if attempt:
                self._closed.wait(min(wait, LONGEST_WAIT) * (1 + 0.25 * random.random()))  # noqa: S311 - so that threads part
                wait *= 2
            if self._closed.is_set():
                raise ModelError(f"{self.url} is asked no more")
            self._count()
            attempt += 1
            try:
                status, answer, after = self._request_once(method, path, body)
            except (httpx2.ReadTimeout, httpx2.WriteTimeout):
                why = f"gave no answer within {self.limits.timeout:g} seconds; allow more with --timeout"
                late += 1
                continue
            except httpx2.TransportError as error:
                why = f"cannot be reached ({self._redacted(str(error))}); start it, or mend the URL"
                continue
            except httpx2.HTTPError as error:
                raise ModelError(
                    f"{self.url} answers what is no HTTP ({self._redacted(str(error))}); mend the URL"
                ) from None
            if status not in RETRY_STATUSES:
                return status, answer
            why = f"answers {status}: {self._error_text(answer)}"
            wait = max(wait, after)
            if _is_too_long(status, answer):
                return status, answer
        raise ModelError(f"{self.url} {why} ({attempt} attempts)")

    def _request_once(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes, float]:
        """Return status, body and the wait that the server asks for (0: none), of one attempt."""
        until = time.monotonic() + self.limits.timeout
        whole = bytearray()
        with self._client.stream(method, self.url + path, json=body) as response:
            for piece in response.iter_bytes():
                whole += piece
                # The client's own timeout is for each piece: a server that drips would never be late.
                if time.monotonic() > until or len(whole) > LARGEST_ANSWER:
                    raise httpx2.ReadTimeout("the answer does not end", request=response.request)
            after = response.headers.get("retry-after", "")
        return response.status_code, bytes(whole), float(after) if after.isdecimal() else 0.0

    def _count(self) -> None:
        with self._lock:
            if self.requests_sent >= self.limits.max_requests:
                raise ModelError(
                    f"{self.limits.max_requests} requests were sent to {self.url}, which is all that are allowed; allow more "
                    "with --max-requests, or give fewer texts with --max-texts"
                )
            self.requests_sent += 1

    def _parse_response(self, status: int, answer: bytes, what: str) -> dict[str, Any]:
        if _is_too_long(status, answer):
            raise TooLongError(f"{self.url} cannot hold the text: {self._error_text(answer)}")
        if status in {401, 403}:
            raise ModelError(
                f"{self.url} refuses the key ({status}: {self._error_text(answer)}); set {API_KEY_VARIABLE} in the environment"
            )
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own classes
            raise ModelError(f"{self.url} answers {status} to {what}: {self._error_text(answer)}")
        try:
            found = json.loads(answer)
        except ValueError:
            raise ModelError(
                f"{self.url} answers {what} with what is not JSON: {self._error_text(answer)}; write the URL of an OpenAI-compatible API"
            ) from None
        if not isinstance(found, dict):
            raise ModelError(f"{self.url} answers {what} with a {type(found).__name__}, not an object")
        return found

    def _error_text(self, answer: bytes) -> str:
        """Return a server's own words for what is wrong, in one short line without the key."""
        text = answer[:4096].decode("utf-8", "replace")
        try:
            told = json.loads(answer)
            text = _message(told.get("error", told.get("detail", told)) if isinstance(told, dict) else told)
        except (ValueError, RecursionError):
            pass
        return self._redacted(text) or "nothing"

    def _redacted(self, words: str) -> str:
        line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
        line = line.replace(self._key, "***") if self._key else line
        return line if len(line) <= MAX_QUOTED_CHARACTERS else f"{line[:MAX_QUOTED_CHARACTERS]}..."


def api_url(url: str) -> str:
    """Return the URL of an API without a slash at its end, "/v1" added to a bare host.

    Raises `SettingError` for no URL of HTTP, and for one that holds a user, a password or a query.
    """
    try:
        parsed = httpx2.URL(url.strip())
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.userinfo or parsed.query or parsed.fragment:
        # Not quoted: it may hold what must not be shown.
        raise SettingError(
            f"--endpoint holds a user, a password or a query, which would be kept; put the key into {API_KEY_VARIABLE}"
        )
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise SettingError(f"--endpoint {url!r} is no URL; write http://localhost:8000/v1, or where the server is")
    plain = str(parsed).rstrip("/").removesuffix("/completions").rstrip("/")
    return plain if parsed.path.strip("/") else f"{plain}/v1"


def is_local(url: str) -> bool:
    """Whether a URL is of this machine."""
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _key() -> str:
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key.isascii() or any(not c.isprintable() or c.isspace() for c in key):
        raise SettingError(f"{API_KEY_VARIABLE} holds characters that no key has; set it again")
    return key


def _message(error: Any) -> str:
    """Return what is said of an error, and not the request that some servers give back with it: it holds a text."""
    if isinstance(error, list):
        return "; ".join(_message(item) for item in error)
    if isinstance(error, dict):
        return _message(next((error[n] for n in ("message", "msg", "error", "detail") if n in error), "no reason"))
    return str(error)


def _is_too_long(status: int, answer: bytes) -> bool:
    """Whether a refusal speaks of the context: servers agree on no code for it."""
    told = answer[:4096].lower()
    return 400 <= status <= 500 and b"context" in told and any(w in told for w in (b"length", b"window", b"exceed"))  # noqa: PLR2004 - HTTP's classes
