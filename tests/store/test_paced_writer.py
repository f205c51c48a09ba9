"""A growing document is written in a bounded share of the time, and completely at the end."""

import pytest

from byheart.store import paced_writer
from byheart.store.paced_writer import SHARE, PacedWriter


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(paced_writer, "time", clock)
    return clock


def test_time_of_writing_is_a_bounded_share(clock: Clock) -> None:
    document, seconds_written = list[int](), 0.0

    def write() -> None:
        nonlocal seconds_written
        cost = len(document) * 1e-5
        seconds_written += cost
        clock.now += cost

    with PacedWriter(write) as writer:
        for i in range(10_000):
            document.append(i)
            clock.now += 1e-3
            writer.change()
    # 10,000 writes would take 500 s, for 10 s of work.
    assert seconds_written < 3 * SHARE * 10


def test_first_and_last_change_are_written(clock: Clock) -> None:
    written = list[int]()
    changes = 0

    def write() -> None:
        clock.now += 1.0
        written.append(changes)

    with PacedWriter(write) as writer:
        for changes in range(1, 6):  # noqa: B007 - read by `write`
            writer.change()
        assert written == [1]
    assert written == [1, 5]


def test_unwritten_changes_are_written_after_an_exception(clock: Clock) -> None:
    written = list[float]()

    def write() -> None:
        clock.now += 1.0
        written.append(clock.now)

    def work() -> None:
        with PacedWriter(write) as writer:
            writer.change()
            writer.change()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(written) == 2


def test_nothing_is_written_twice(clock: Clock) -> None:
    written = list[float]()
    with PacedWriter(lambda: written.append(clock.now)) as writer:
        writer.change()
    assert len(written) == 1
