"""Numbers of rows: select, average over seeds, and format with their intervals."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from byheart.core.types import Estimate, Row

CHANCE_AUC = 0.5
"""The AUC of guessing."""


INTERVAL = "95 % interval"


MISSING = "\N{EN DASH}"
"""What a table shows where nothing was measured."""


def rows_at_epoch(rows: Sequence[Row], epoch: int | None) -> list[Row]:
    """Return the rows of an epoch; None stands for the last epoch that every seed among them reached."""
    last: dict[int, int] = {}
    for row in rows:
        if row.epoch is not None:
            last[row.seed] = max(row.epoch, last.get(row.seed, 0))
    wanted = epoch if epoch is not None or not last else min(last.values())
    return [r for r in rows if r.epoch == wanted]


def pooled_estimate(rows: Sequence[Row]) -> Estimate | None:
    """Return one row's estimate with its interval; of several seeds the mean, with the lowest and highest as ends."""
    if not rows:
        return None
    if len(rows) == 1:
        row = rows[0]
        return Estimate(row.value, row.low, row.high, row.members, row.nonmembers)
    values = [r.value for r in rows]
    return Estimate(float(np.mean(values)), min(values), max(values))


def base_estimate(rows: Sequence[Row]) -> Estimate | None:
    """Return the base model's estimate; every cell repeats its epoch 0, so equal rows count once."""
    return pooled_estimate(list({round(r.value, 6): r for r in rows if r.epoch == 0}.values()))


def interval_description(rows: Sequence[Row]) -> str:
    """Say what the two ends of an interval are, given how many seeds there are."""
    seeds: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for r in rows:
        seeds[r.base, r.dataset, r.dataset_settings, r.method, r.method_settings, r.training_settings].add(r.seed)
    counts = sorted({len(s) for s in seeds.values()})
    if counts in ([], [1]):
        return INTERVAL
    if len(counts) == 1:
        return f"lowest and highest of {counts[0]} seeds around their mean"
    of_one = f" ({INTERVAL} where there is one seed)" if counts[0] == 1 else ""
    return f"lowest and highest of {counts[0]} to {counts[-1]} seeds around their mean{of_one}"


def format_number(value: float) -> str:
    """Return a number as a table shows it: three decimals for a rate, two above one, none above a thousand."""
    if not math.isfinite(value):
        return "∞" if value > 0 else MISSING
    size = abs(value)
    digits = 3 if size <= 1 else 2 if size < 1000 else 0  # noqa: PLR2004 - said in the docstring
    return f"{value:z,.{digits}f}"  # z: no minus before a zero


def format_estimate(estimate: Estimate | None) -> str:
    """Return an estimate as a table shows it: "0.852 [0.840, 0.864]"."""
    if estimate is None:
        return MISSING
    if estimate.low is None or estimate.high is None:
        return format_number(estimate.value)
    return f"{format_number(estimate.value)} [{format_number(estimate.low)}, {format_number(estimate.high)}]"


def format_count(number: int, thing: str) -> str:
    """Return a number of things: "1 cell", "6 cells"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def split_settings(*settings: str) -> list[str]:
    """Return each "name=value" of a row's settings; a list's value holds ", " too, so only ", name=" parts them."""
    return [part for several in settings if several for part in re.split(r", (?=\w+=)", several)]


def parse_settings(settings_text: str) -> dict[str, str]:
    """Return a row's settings by name, as they are written."""
    return dict(part.split("=", 1) for part in split_settings(settings_text))


def format_times(number: int) -> str:
    """Return how often something was done: "once", "16 times"."""
    return "once" if number == 1 else f"{number} times"
