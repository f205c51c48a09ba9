"""Decompress gzip and Zstandard with a limit: a file of kilobytes can contain terabytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from byheart.core.errors import DataError

MAX_EXPANSION = 100
"""Maximum ratio of a large file's content to its size; compressed texts have less than 50, and a bomb has a thousand."""
ALWAYS_READ_BYTES = 1 << 28
"""Content of at most this size is read whatever its ratio."""
_BLOCK_BYTES = 1 << 12
"""Compressed bytes that are read at once: Zstandard can write 32 KiB per byte."""


def max_content_bytes(file_bytes: int) -> int:
    """Return the maximum number of bytes that a file of this size may contain."""
    return max(ALWAYS_READ_BYTES, MAX_EXPANSION * file_bytes)


def expansion_error() -> DataError:
    """Return the error for a file with more content than that."""
    return DataError(
        f"its content is more than {ALWAYS_READ_BYTES >> 20} MiB and {MAX_EXPANSION} times the file. Write each text once, or "
        "decompress the file."
    )


def _decompressed(content: bytes, new_stream: Callable[[], Any]) -> bytes:
    """Return the content of all streams one after the other.

    Raises `DataError` for more bytes than `max_content_bytes`, `ValueError` for a truncated file.
    """
    limit, total = max_content_bytes(len(content)), 0
    parts: list[bytes] = []
    stream = new_stream()
    for position in range(0, len(content), _BLOCK_BYTES):
        block = content[position : position + _BLOCK_BYTES]
        if stream.eof:
            block = block.lstrip(b"\0")  # gzip allows zeros between streams, and Zstandard begins with none
        while block:
            if stream.eof:
                stream = new_stream()
            parts.append(stream.decompress(block))
            total += len(parts[-1])
            if total > limit:
                raise expansion_error()
            block = stream.unused_data.lstrip(b"\0") if stream.eof else b""
    if not stream.eof:
        raise ValueError("the file is truncated")
    return b"".join(parts)


def _gzip(content: bytes) -> bytes:
    return _decompressed(content, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS))


def _zstandard(content: bytes) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise DataError("Zstandard files need zstandard. Run pip install zstandard, or decompress the file.") from error
    # Not `stream_reader`, which returns the beginning of a truncated file without an error.
    return _decompressed(content, lambda: zstandard.ZstdDecompressor().decompressobj())


DECOMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {".gz": _gzip, ".zst": _zstandard}
"""Functions from compressed to decompressed bytes, by suffix."""
