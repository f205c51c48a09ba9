"""URL and API key of a server."""

from __future__ import annotations

import ipaddress
import os

import httpx2

from byheart.core.errors import SettingError

API_KEY_VARIABLE = "BYHEART_API_KEY"
"""Environment variable with the API key. Not another service's variable, whose key must not be sent to an audited URL."""

OWN_INTERFACES = ("/api/generate", "/api/chat", "/completion")
"""Paths of Ollama's and llama.cpp's own interfaces; their servers also have an OpenAI-compatible one."""


def api_url(url: str) -> str:
    """Return the URL of an API without a trailing slash, and with "/v1" added to a bare host.

    Raises `SettingError` unless the URL is an HTTP URL without user, password and query.
    """
    try:
        parsed = httpx2.URL(url.strip())
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.userinfo or parsed.query or parsed.fragment:
        # The message does not quote the URL, which may contain a key.
        raise SettingError(
            "--endpoint: the URL contains a user, a password or a query, which the results would store. Put the key into "
            f"{API_KEY_VARIABLE}."
        )
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise SettingError(
            f"--endpoint {url!r}: this is not an HTTP URL. Write a URL such as http://localhost:8000/v1."
        )
    plain = str(parsed).rstrip("/")
    for own in OWN_INTERFACES:
        if parsed.path.rstrip("/") == own:
            return f"{plain.removesuffix(own)}/v1"
    plain = plain.removesuffix("/completions").removesuffix("/chat").rstrip("/")
    return plain if parsed.path.strip("/") else f"{plain}/v1"


def is_local(url: str) -> bool:
    """Whether a URL refers to this machine."""
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def api_key() -> str:
    """Return the API key from the environment, or ""; raises `SettingError` for whitespace or non-ASCII characters."""
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key.isascii() or any(not c.isprintable() or c.isspace() for c in key):
        raise SettingError(f"{API_KEY_VARIABLE}: the key contains whitespace or non-ASCII characters. Set it again.")
    return key
