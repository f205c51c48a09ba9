"""Sides of a comparison are timed in turn, round by round, so that other load affects all of them."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Seconds = dict[str, list[float]]


class Ratio(NamedTuple):
    """Ratio of the times of two sides: median, minimum and maximum over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the ratio as text for tables."""
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def timed(sides: Mapping[str, Callable[[], object]], *, rounds: int, warm: bool = True) -> Seconds:
    """Return each side's seconds by round. Odd rounds are in reverse order; one untimed round comes first."""
    if warm:
        for run in sides.values():
            run()
    found: Seconds = {name: [] for name in sides}
    for number in range(rounds):
        for name in reversed(sides) if number % 2 else sides:
            started = time.perf_counter()
            sides[name]()
            found[name].append(time.perf_counter() - started)
    return found


def told(module: str, sides: Sequence[str], *, rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield sides with the last line of `python -m MODULE SIDE`, as JSON, from a new process each time. Odd rounds are in reverse order."""
    for number in range(rounds):
        for side in reversed(sides) if number % 2 else sides:
            made = subprocess.run([sys.executable, "-m", module, side], check=True, stdout=subprocess.PIPE)
            yield side, json.loads(made.stdout.splitlines()[-1])


def ratio(seconds: Seconds, one: str, other: str) -> Ratio:
    """Return the ratio of the times of `one` and `other`, paired by round, for rounds with both."""
    each = [a / b for a, b in zip(seconds[one], seconds[other], strict=False)]
    return Ratio(statistics.median(each), min(each), max(each))
