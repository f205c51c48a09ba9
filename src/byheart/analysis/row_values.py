"""Values of rows: select by epoch, average over seeds, and format with intervals."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence

from byheart.core import registry
from byheart.core.row import is_base_row
from byheart.core.types import Estimate, Row
from byheart.stats.seed_pooling import pool_seed_estimates

CHANCE_AUC = 0.5
"""AUC of random guessing."""


INTERVAL = "95 % interval"


UNBOUNDED = (-math.inf, math.inf)

MISSING = "\N{EN DASH}"
"""Table cell without a measurement."""


def rows_at_epoch(rows: Sequence[Row], epoch: float | None) -> list[Row]:
    """Return the rows of an epoch; None means the last epoch that every seed among them reached.

    Epoch 0 is the base model, never an initialized method.
    """
    last: dict[int, float] = {}
    for row in rows:
        if row.epoch is not None:
            last[row.seed] = max(row.epoch, last.get(row.seed, 0))
    selected_epoch = epoch if epoch is not None or not last else min(last.values())
    return [r for r in rows if r.epoch == selected_epoch and not r.initialized]


def pooled_estimate(rows: Sequence[Row]) -> Estimate | None:
    """Return the estimate of one row, or of several seeds (`pool_rows`); None without rows."""
    return pool_rows(rows) if rows else None


def pool_rows(rows: Sequence[Row]) -> Estimate:
    """Return one row's estimate with its interval; for several seeds, the mean with an interval for other texts and other seeds.

    The interval is that of `pool_seed_estimates`, clipped to the metric's `RANGE`, and None if a seed has none. The table `seeds`
    pools AUCs from their scores, which gives a shorter one.
    """
    estimates = [Estimate(r.value, r.low, r.high, r.members, r.nonmembers) for r in rows]
    if len(estimates) == 1:
        return estimates[0]
    return pool_seed_estimates(estimates, within=possible_values(rows[0].metric, rows[0].metric_settings))


def possible_values(metric: str, label: str = "") -> tuple[float, float]:
    """Return the `RANGE` of a metric's file, for the number with this label; without a label, for all of its numbers.

    Code that is not byheart's is not imported: its values are unbounded, like counts.
    """
    if metric not in registry.entry_names("metrics"):
        return UNBOUNDED
    declared = registry.module_constant(registry.load_function("metrics", metric), "RANGE", UNBOUNDED)
    if isinstance(declared, tuple):
        return declared
    ranges = [ends for part, ends in declared.items() if part in label] or list(declared.values())
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def base_estimate(rows: Sequence[Row]) -> Estimate | None:
    """Return the base model's estimate; every cell repeats epoch 0, so equal values count once."""
    return pooled_estimate(list({round(r.value, 6): r for r in rows if is_base_row(r)}.values()))


def interval_description(rows: Sequence[Row]) -> str:
    """Return a description of an interval's ends, which depend on the number of seeds."""
    seeds: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for r in rows:
        seeds[r.base, r.dataset, r.dataset_settings, r.method, r.method_settings, r.training_settings].add(r.seed)
    counts = sorted({len(s) for s in seeds.values()})
    if counts in ([], [1]):
        return INTERVAL
    of_one = " (for other texts only, where there is one seed)" if counts[0] == 1 else ""
    return f"{INTERVAL} for other texts and other training seeds{of_one}"


def format_number(value: float) -> str:
    """Return a number as a table shows it: three decimals up to 1, two above, none from 1,000 on."""
    if not math.isfinite(value):
        return "∞" if value > 0 else MISSING
    size = abs(value)
    digits = 3 if size <= 1 else 2 if size < 1000 else 0  # noqa: PLR2004 - see the docstring
    return f"{value:z,.{digits}f}"  # z: no negative zero


def format_estimate(estimate: Estimate | None) -> str:
    """Return an estimate as a table shows it: "0.852 [0.840, 0.864]"."""
    if estimate is None:
        return MISSING
    if estimate.low is None or estimate.high is None:
        return format_number(estimate.value)
    return f"{format_number(estimate.value)} [{format_number(estimate.low)}, {format_number(estimate.high)}]"


def format_count(number: int, thing: str) -> str:
    """Return a count with its noun: "1 cell", "6 cells"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def split_settings(*settings: str) -> list[str]:
    """Return each "name=value" of a row's settings. Splits at ", name=" only, because lists contain ", " too."""
    return [part for text in settings if text for part in re.split(r", (?=\w+=)", text)]


def parse_settings(settings_text: str) -> dict[str, str]:
    """Return a row's settings by name, with values as text."""
    return dict(part.split("=", 1) for part in split_settings(settings_text))


def format_times(number: int) -> str:
    """Return a number of repetitions as text: "once", "16 times"."""
    return "once" if number == 1 else f"{number} times"
