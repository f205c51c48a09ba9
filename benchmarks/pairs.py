"""Sides of a comparison timed in turn, round by round, so that whatever slows the machine slows them all."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Seconds = dict[str, list[float]]


class Ratio(NamedTuple):
    """How many times as long one side takes as another: the median over rounds, the least and the most."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return it as the tables write it."""
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def timed(sides: Mapping[str, Callable[[], object]], *, rounds: int, warm: bool = True) -> Seconds:
    """Return each side's seconds by round. Odd rounds go backwards; one untimed round goes before them all."""
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
    """Yield sides with what `python -m MODULE SIDE` prints last, as JSON: a process each time. Odd rounds go backwards."""
    for number in range(rounds):
        for side in reversed(sides) if number % 2 else sides:
            made = subprocess.run([sys.executable, "-m", module, side], check=True, stdout=subprocess.PIPE)
            yield side, json.loads(made.stdout.splitlines()[-1])


def ratio(seconds: Seconds, one: str, other: str) -> Ratio:
    """Return how many times as long `one` takes as `other`, paired by round, so far as both were timed."""
    each = [a / b for a, b in zip(seconds[one], seconds[other], strict=False)]
    return Ratio(statistics.median(each), min(each), max(each))
