"""Atomic file writes: write to a temporary name in the same folder, then rename."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(place: Path) -> Generator[Path]:
    """Yield a temporary path to write to. It replaces `place` when the block ends, and is removed if the block fails."""
    temporary_path = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
    try:
        yield temporary_path
        temporary_path.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):  # the folder may not exist
            temporary_path.unlink()
        raise
