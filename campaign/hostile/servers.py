"""Servers that redirect with the API key, never end an answer, answer gigabytes, or print the key and the texts."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from unittest import mock

from byheart.auditing.server.address import API_KEY_VARIABLE
from campaign.checks import Check
from campaign.hostile.guard import SECRET, problem
from campaign.originals import sentences
from campaign.outcomes import Outcome

KEY = "sk-" + SECRET
TIMEOUT = 1.5
"""Seconds that an answer may take in these checks; users have 600."""
MODELS = json.dumps({"data": [{"id": "tuned"}]}).encode()
Answer = Callable[[socket.socket, bytes], None]


def checks(_: Path) -> list[Check]:
    """Return the checks."""
    answers: dict[str, Answer] = {
        "redirects": lambda s, _: _send(
            s, b"307 Temporary Redirect", b"Location: http://127.0.0.1:%d/v1/x\r\n" % _listener()
        ),
        "permanent redirect of the list": lambda s, _: _send(
            s, b"301 Moved", b"Location: http://127.0.0.1:%d/\r\n" % _listener()
        ),
        "streams without end": _stream,
        "single bytes without end": _drip,
        "headers without end": _headers,
        "informational answers without end": _informational,
        "trailers without end": _trailers,
        "a compressed bomb": _bomb,
        "a bomb in a bomb": lambda s, _: _send(
            s, b"200 OK", b"Content-Encoding: gzip, gzip\r\n", gzip.compress(gzip.compress(b"0" * 10**7))
        ),
        "Zstandard": lambda s, _: _send(s, b"200 OK", b"Content-Encoding: zstd\r\n", b"\x28\xb5\x2f\xfd" + b"0" * 100),
        "a length of petabytes": lambda s, _: _send(s, b"200 OK", b"", b"{}", length=10**15),
        "deep JSON": lambda s, _: _send(s, b"200 OK", b"", b"[" * 10**6),
        "a number of megabytes": lambda s, _: _send(s, b"200 OK", b"", b'{"data": ' + b"9" * 10**6 + b"}"),
        "the key in an error": lambda s, request: _send(
            s, b"400 Bad", b"", json.dumps({"error": {"message": request.decode("latin1")}}).encode()
        ),
        "the key in a bare error": lambda s, request: _send(s, b"500 Bad", b"Retry-After: 999999999\r\n", request),
        "control characters": lambda s, _: _send(s, b"400 Bad", b"", b"\x1b[2J\x1b]0;title\x07\xe2\x80\xae error"),
        "an upgrade": lambda s, _: s.sendall(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "no HTTP": lambda s, _: s.sendall(b"\x16\x03\x01 hello\r\n\r\n"),
    }
    return [
        Check(f"{name}{' after the list of models' if is_late else ''}", _attempt(answer, is_late=is_late))
        for name, answer in answers.items()
        for is_late in (False, True)
    ]


_received: list[bytes] = []
_other: list[int] = []


def _listener() -> int:
    return _other[0]


def _attempt(answer: Answer, *, is_late: bool) -> Callable[[Path, random.Random], str]:
    """Return an attempt: audit a server that answers so, at once or after its list of models."""

    def attempt(folder: Path, _: random.Random) -> str:
        def respond(connection: socket.socket, request: bytes) -> None:
            if is_late and request.startswith(b"GET "):
                _send(connection, b"200 OK", b"", MODELS)
            else:
                answer(connection, request)

        _received.clear()
        with _served(_record) as other, _served(respond) as port:
            _other[:] = [other]
            found = problem(folder, lambda: _audit(folder, port), ("refused",), named=f"http://127.0.0.1:{port}/v1: ")
        return f"requests went elsewhere: {_received[0][:300]!r}" if _received else found

    return attempt


def _audit(folder: Path, port: int) -> Outcome | None:
    from byheart.auditing.server import client
    from campaign.outcomes import typed

    for name, first in (("m", 0), ("n", 900)):
        (folder / "in" / f"{name}.txt").write_text("\n".join(sentences(4, first)))
    texts = ["--members", str(folder / "in" / "m.txt"), "--nonmembers", str(folder / "in" / "n.txt")]
    words = [
        "audit",
        "--endpoint",
        f"http://127.0.0.1:{port}/v1",
        "--model-name",
        "tuned",
        *texts,
        "--timeout",
        str(TIMEOUT),
    ]
    with mock.patch.dict(os.environ, {API_KEY_VARIABLE: KEY}), mock.patch.object(client, "LONGEST_WAIT", 0.01):
        return typed(words)


def _record(connection: socket.socket, request: bytes) -> None:
    _received.append(request)
    _send(connection, b"200 OK", b"", MODELS)


@contextlib.contextmanager
def _served(respond: Answer) -> Generator[int]:
    """Answer every connection on a port of this machine; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, respond), daemon=True).start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, respond: Answer) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_connected, args=(connection, respond), daemon=True).start()


def _connected(connection: socket.socket, respond: Answer) -> None:
    with connection, contextlib.suppress(OSError):
        request = connection.recv(1 << 16)
        respond(connection, request)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1 << 16)


def _send(
    connection: socket.socket, status: bytes, headers: bytes, body: bytes = b"", length: int | None = None
) -> None:
    size = len(body) if length is None else length
    connection.sendall(
        b"HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, headers, size) + body
    )


def _for_long(send: Callable[[], None], pause: float = 0.2) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        send()
        time.sleep(pause)


def _stream(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    _for_long(lambda: connection.sendall(block), 0.0)


def _drip(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    _for_long(lambda: connection.sendall(b" "))


def _headers(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    _for_long(lambda: connection.sendall(b"X: y\r\n"))


def _informational(connection: socket.socket, _: bytes) -> None:
    _for_long(lambda: connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n"), 0.05)


def _trailers(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    _for_long(lambda: connection.sendall(b"X: y\r\n"))


def _bomb(connection: socket.socket, _: bytes) -> None:
    """Send gigabytes of spaces as megabytes of gzip."""
    _send(connection, b"200 OK", b"Content-Encoding: gzip\r\n", gzip.compress(b" " * 10**8) * 20)
