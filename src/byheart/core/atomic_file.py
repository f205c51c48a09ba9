"""A file that is there whole or not at all: written beside its place, then renamed in one step."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(place: Path) -> Generator[Path]:
    """Give a path to write to. It takes `place` when the block ends, and is removed where the block fails."""
    aside = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
    try:
        yield aside
        aside.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):  # there may be no such folder
            aside.unlink()
        raise
