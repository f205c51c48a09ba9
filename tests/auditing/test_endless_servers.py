"""A server whose answer does not end, or is compressed twice, gives one line within the timeout."""

import contextlib
import gzip
import socket
import threading
import time

import pytest

from byheart.auditing.server.client import Endpoint, RequestLimits
from byheart.core.errors import ModelError

pytestmark = pytest.mark.usefixtures("short_waits")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def served(start, repeated=b"", pause=0.05, seconds=3.0):
    """A server that answers every request with `start`, and then sends bytes again and again; yields its URL."""

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=respond, args=(server.accept()[0],), daemon=True).start()

    def respond(connection):
        until = time.monotonic() + seconds
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(start)
            while repeated and time.monotonic() < until:
                connection.sendall(repeated)
                time.sleep(pause)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
        (CHUNKED, b"1\r\n \r\n"),
    ],
    ids=["headers", "informational answers", "trailers", "chunks"],
)
def test_an_answer_without_end_is_given_up_after_the_timeout(start, repeated):
    started = time.monotonic()
    with served(start, repeated) as url, pytest.raises(ModelError, match=r"no answer within 0\.3 seconds") as refused:
        Endpoint(url, RequestLimits(timeout=0.3, wait=0.01)).models()
    assert time.monotonic() - started < 2.5  # two attempts
    assert url in str(refused.value)


@pytest.mark.parametrize("encoding", [b"gzip, gzip", b"zstd", b"br"])
def test_only_one_compression_by_gzip_is_accepted(encoding):
    """Other compressions, and compression in compression, make gigabytes of kilobytes."""
    body = gzip.compress(gzip.compress(b'{"data": []}'))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    with served(head + body) as url, pytest.raises(ModelError, match="its compression was not requested"):
        Endpoint(url, RequestLimits(timeout=5, wait=0.01)).models()


def test_an_answer_that_is_compressed_once_is_read():
    body = gzip.compress(b'{"data": [{"id": "tuned"}]}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with served(head + body) as url:
        assert Endpoint(url, RequestLimits(timeout=5)).models() == ("tuned",)
