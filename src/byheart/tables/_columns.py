"""What frames every table: the leading columns that say where a line comes from, and the parts of its note."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from byheart.analysis import labels, row_values
from byheart.core import registry
from byheart.core.errors import DataError, UnknownNameError
from byheart.core.types import Row


def attack_rows(rows: Sequence[Row], attack: str | None, metric: str, epoch: int | None) -> list[Row]:
    """Return the rows of an attack's metric (None: of every attack's).

    Raises `DataError` if there are none, or none at the epoch.
    """
    measured = [r for r in rows if r.attack and r.metric == metric and attack in (None, r.attack)]
    if not measured:
        known = sorted({f"{r.attack} {r.metric}" for r in rows if r.attack})
        asked = f"attack {attack!r}" if attack else "any attack"
        raise DataError(f"no row holds the metric {metric!r} of {asked}; measured: {', '.join(known) or 'nothing'}")
    if epoch is not None and not any(r.epoch == epoch for r in measured):
        last = max((r.epoch for r in measured if r.epoch is not None), default="none")
        raise DataError(f"nothing was measured at epoch {epoch}; the last is {last}")
    return measured


def cells_across(
    names: labels.DisplayNames, rows: Sequence[Row], format_cell: Callable[[list[Row]], str]
) -> tuple[str, ...]:
    """Return one cell for each name, from the rows under it; an empty list where it has none."""
    held = names.split(rows)
    return tuple(format_cell(held.get(n, [])) for n in names.names.values())


def format_base_value(rows: Sequence[Row]) -> str:
    """Show the base model's own value."""
    return row_values.format_estimate(row_values.base_estimate(rows))


def value_formatter(epoch: int | None) -> Callable[[list[Row]], str]:
    """Return what shows rows by their pooled value at an epoch (None: the last)."""
    return lambda rows: row_values.format_estimate(row_values.pooled_estimate(row_values.rows_at_epoch(rows, epoch)))


def table_note(rows: Sequence[Row], metric: str, epoch: int | None) -> str:
    """Say what the numbers are, after which epoch, what the brackets hold, on how many texts, with which settings."""
    brackets = row_values.interval_description(rows)
    # Seeds share the audited texts and so the untuned model's one measurement, which has an interval of its own.
    of_untuned = "" if brackets == row_values.INTERVAL else f", of the untuned model the {row_values.INTERVAL}"
    sentences = [
        f"{_metric_with_settings(rows, metric)} {_epoch_phrase(rows, epoch)}; in brackets the {brackets}{of_untuned}",
        _audited_counts(rows),
        _shared_settings(rows),
    ]
    return ". ".join(s for s in sentences if s) + "."


def _metric_with_settings(rows: Sequence[Row], metric: str) -> str:
    """Name the metric with the settings that it was computed with, the defaults too."""
    try:
        defaults = registry.default_settings(registry.load_function("metrics", metric))
    except UnknownNameError:  # somebody else's metric, which need not be here to be shown
        defaults = {}
    by_default = ", ".join(f"{name}={registry.format_setting(value)}" for name, value in defaults.items())
    used = " or ".join(sorted({r.metric_settings or by_default for r in rows} - {""}))
    return f"{labels.metric_name(metric)} ({used})" if used else labels.metric_name(metric)


def _epoch_phrase(rows: Sequence[Row], epoch: int | None) -> str:
    if epoch is not None:
        return f"after epoch {epoch}"
    tuned = [r for r in rows if r.epoch]
    last = {r.epoch for there in labels.panels(rows).split(tuned).values() for v in _last_epoch_rows(there) for r in v}
    return f"after epoch {last.pop()}" if len(last) == 1 else "after each one's last epoch"


def _last_epoch_rows(rows: Sequence[Row]) -> list[list[Row]]:
    return [row_values.rows_at_epoch(those, None) for those in labels.variants(rows).split(rows).values()]


def _audited_counts(rows: Sequence[Row]) -> str:
    sizes = {(r.members, r.nonmembers) for r in rows if r.members is not None and r.nonmembers is not None}
    if len(sizes) != 1:
        return ""
    members, nonmembers = sizes.pop()
    return f"{members:,} members against {nonmembers:,} non-members"


def _shared_settings(rows: Sequence[Row]) -> str:
    # What all cells of a method share is in no column's name, so it must be said here. `_measure` tells the metric's.
    bare = [dataclasses.replace(r, metric_settings="") for r in rows]
    methods = {
        name: row_values.split_settings(settings) for name, settings in labels.variants(bare).shared_settings.items()
    }
    everywhere: list[str] = []
    if len(methods) == len({r.method for r in rows}) > 1:
        first, *others = methods.values()
        everywhere = [p for p in first if all(p in parts for parts in others)]
    own = {name: [p for p in parts if p not in everywhere] for name, parts in methods.items()}
    said = [
        *labels.datasets(bare).shared_settings.items(),
        ("every method", ", ".join(everywhere)),
        *((name, ", ".join(parts)) for name, parts in own.items()),
        *labels.attacks(bare).shared_settings.items(),
    ]
    told = "; ".join(f"{name} {settings}" for name, settings in said if settings)
    return f"Settings other than the defaults: {told}" if told else ""
