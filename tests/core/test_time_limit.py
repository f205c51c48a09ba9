"""Blocks of Python code that take too long, or too much memory, are interrupted; others are not."""

import subprocess
import sys
import threading
import time

import pytest

from byheart.core import time_limit
from byheart.core.time_limit import LimitError, limited

UNLIMITED = float("inf")


def run_for(seconds, *, seconds_allowed=UNLIMITED, memory_bytes=UNLIMITED, taken_bytes=0):
    """Run Python instructions for some seconds, with memory that is written to."""
    with limited(seconds=seconds_allowed, memory_bytes=memory_bytes):
        taken, until = b"x" * taken_bytes, time.monotonic() + seconds
        while time.monotonic() < until:
            pass
        return len(taken)


def test_a_block_that_runs_for_too_long_is_interrupted():
    started = time.monotonic()
    with pytest.raises(LimitError):
        run_for(20, seconds_allowed=0.1)
    assert time.monotonic() - started < 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of the process from /proc")
def test_a_block_that_takes_too_much_memory_is_interrupted():
    with pytest.raises(LimitError):
        run_for(5, memory_bytes=32 << 20, taken_bytes=128 << 20)


def test_a_block_within_its_limits_ends_and_the_next_code_is_not_interrupted():
    assert run_for(0.1, seconds_allowed=0.3, memory_bytes=1 << 30, taken_bytes=10) == 10
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        pass


def test_each_thread_has_its_own_limit():
    ended = {}

    def attempt(name, seconds_allowed):
        try:
            ended[name] = run_for(0.6, seconds_allowed=seconds_allowed)
        except LimitError:
            ended[name] = "interrupted"

    threads = [threading.Thread(target=attempt, args=item) for item in (("short", 0.1), ("long", 60))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == {"short": "interrupted", "long": 0}


TRACED = """
import sys, time
from byheart.core import time_limit
from byheart.core.time_limit import LimitError, limited
try:
    with limited(seconds=0.1, memory_bytes=float("inf")):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            pass
except LimitError:
    sys.settrace(lambda *_: None)
    (lambda: print("called"))()
"""


def test_a_traced_call_after_an_interruption_ends():
    """Debuggers and coverage trace calls. CPython 3.11 never begins a traced call while it believes that an exception waits."""
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "called\n"


def test_an_exception_that_has_not_arrived_is_received_in_the_block():
    with limited(seconds=UNLIMITED, memory_bytes=UNLIMITED):
        (limit,) = (limit for limit in time_limit._limits.values())
        limit.is_exceeded = True  # as if the watcher raised the exception now
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        pass
