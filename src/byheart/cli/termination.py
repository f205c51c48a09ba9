"""SIGTERM ends a command as Ctrl-C does: drafts are removed, and complete results stay.

Containers, `timeout` and job schedulers send it. A second SIGTERM ends the process at once.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator

EXIT_TERMINATED = 128 + signal.SIGTERM


@contextlib.contextmanager
def interrupted_by_sigterm() -> Generator[list[int]]:
    """Raise `KeyboardInterrupt` in this block at the first SIGTERM, which is then in the yielded list.

    Without effect in another thread than the main one, where Python allows no handler, and where SIGTERM is ignored.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield received
        return

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)
