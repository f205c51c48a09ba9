"""Progress of a study: the events that running cells report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple


class Event(NamedTuple):
    """A progress event: its kind, the cell, a text, and the finished work (forward passes of one token).

    The work of a "begin" event was done by an earlier run.
    """

    kind: Literal["begin", "step"]
    cell: str
    text: str
    work: float = 0.0


ProgressCallback = Callable[[Event], None]
