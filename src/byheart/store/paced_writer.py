"""Write a growing document while work goes on, in a bounded share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

SHARE = 0.02
"""Largest share of the time that is spent on writing."""


class PacedWriter:
    """Calls `write` for the first change, later for a change after a pause, and at the end of the `with` block.

    A document of n changes that is written after each change costs time that grows with n². A pause is as long as the
    last call of `write`, divided by `SHARE`. The end of the block writes what is missing, also after an exception.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._is_changed = False
        self._due = 0.0

    def change(self) -> None:
        """Report that the document has changed."""
        self._is_changed = True
        if time.monotonic() >= self._due:
            self._write_now()

    def _write_now(self) -> None:
        begun = time.monotonic()
        self._write()
        ended = time.monotonic()
        self._is_changed = False
        self._due = ended + (ended - begun) / SHARE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_changed:
            self._write_now()
