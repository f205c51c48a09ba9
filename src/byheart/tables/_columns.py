"""Shared parts of tables: rows of an attack, cells across columns, and the note below a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core import registry
from byheart.core.adversary import adversary_phrase
from byheart.core.errors import DataError, UnknownNameError
from byheart.core.row import adversary_label
from byheart.core.types import Row


def attack_rows(rows: Sequence[Row], attack: str | None, metric: str, epoch: int | None) -> list[Row]:
    """Return the rows of a metric of one attack (None: of every attack).

    Raises `DataError` without such rows, or without rows at the epoch.
    """
    measured = [r for r in rows if r.attack and r.metric == metric and attack in (None, r.attack)]
    if not measured:
        available = sorted({f"{r.attack} {r.metric}" for r in rows if r.attack})
        attack_name = f"attack {attack!r}" if attack else "any attack"
        raise DataError(
            f"metric {metric!r}: no rows of {attack_name}. Choose from these attacks and metrics: "
            f"{', '.join(available) or 'none'}."
        )
    if epoch is not None and not any(r.epoch == epoch for r in measured):
        last = max((r.epoch for r in measured if r.epoch is not None), default="none")
        raise DataError(f"epoch {epoch}: no rows. Choose an epoch up to {last}.")
    return measured


def attack_lines(
    measured: Sequence[Row], utility: Sequence[Row], lead: LeadColumns
) -> Iterator[tuple[tuple[str, ...], str, list[Row]]]:
    """Yield leading cells, name and rows of each line: every attack of a data set, then its validation perplexity."""
    attacks, perplexities = labels.attacks(measured), lead.split(utility)
    for head, lead_rows in lead.split(measured).items():
        for name, rows in attacks.split(lead_rows).items():
            yield head, name, rows
        if rows := perplexities.get(head):
            yield head, labels.metric_name("perplexity"), rows


SPLIT_SEED = "seed="
"""Setting of a data set that distinguishes its splits."""


def with_splits_merged(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with one name for all splits of a data set."""

    def merged(settings: str) -> str:
        return ", ".join(part for part in row_values.split_settings(settings) if not part.startswith(SPLIT_SEED))

    return [dataclasses.replace(r, dataset_settings=merged(r.dataset_settings)) for r in rows]


class AdversaryColumn:
    """The column that groups attacks by what their adversary must have; absent if all attacks have the same adversary."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._labels = list(labels.adversaries(rows))
        self.header = ("adversary has",) if len(self._labels) > 1 else ()

    def cell(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Return the cell of the rows of one attack; for rows without an attack, the sign of a missing value."""
        label = next((adversary_label(r) for r in rows if r.attack), row_values.MISSING)
        return (label,) if self.header else ()

    @property
    def note(self) -> str:
        """The sentence on adversaries, to append to a table's note; begins with a space."""
        if self.header:
            return " Attacks are grouped by what their adversary has; compare them within a group."
        return f" The adversary has {adversary_phrase(self._labels[0])}."


def cells_across(
    names: labels.DisplayNames, rows: Sequence[Row], format_cell: Callable[[list[Row]], str]
) -> tuple[str, ...]:
    """Return one cell for each name, formatted from its rows (an empty list for a name without rows)."""
    rows_by_name = names.split(rows)
    return tuple(format_cell(rows_by_name.get(name, [])) for name in names.names.values())


def format_base_value(rows: Sequence[Row]) -> str:
    """Format the value of the base model."""
    return row_values.format_estimate(row_values.base_estimate(rows))


def value_formatter(epoch: int | None) -> Callable[[list[Row]], str]:
    """Return a function that formats the pooled value of rows at an epoch (None: the last)."""
    return lambda rows: row_values.format_estimate(row_values.pooled_estimate(row_values.rows_at_epoch(rows, epoch)))


def table_note(rows: Sequence[Row], metric: str, epoch: int | None) -> str:
    """Describe the numbers of a table: metric, epoch, brackets, number of texts, settings."""
    brackets = row_values.interval_description(rows)
    # Seeds share the audited texts and therefore the base model's measurement, which has its own interval.
    of_base = "" if brackets == row_values.INTERVAL else f" (base model: {row_values.INTERVAL})"
    sentences = [
        f"{_metric_with_settings(rows, metric)} {_epoch_phrase(rows, epoch)}; in brackets: {brackets}{of_base}",
        _audited_counts(rows),
        _shared_settings(rows),
    ]
    return ". ".join(s for s in sentences if s) + "."


def _metric_with_settings(rows: Sequence[Row], metric: str) -> str:
    """Return the metric's name with its settings, including defaults."""
    try:
        defaults = registry.default_settings(registry.load_function("metrics", metric))
    except UnknownNameError:  # an external metric, which need not be installed to be shown
        defaults = {}
    by_default = ", ".join(f"{name}={registry.format_setting(value)}" for name, value in defaults.items())
    used = " or ".join(sorted({r.metric_settings or by_default for r in rows} - {""}))
    return f"{labels.metric_name(metric)} ({used})" if used else labels.metric_name(metric)


def _epoch_phrase(rows: Sequence[Row], epoch: int | None) -> str:
    if epoch is not None:
        return f"after epoch {epoch}"
    tuned = [r for r in rows if r.epoch]
    last_epochs = {
        r.epoch
        for panel_rows in labels.panels(rows).split(tuned).values()
        for variant_rows in _last_epoch_rows(panel_rows)
        for r in variant_rows
    }
    return f"after epoch {last_epochs.pop()}" if len(last_epochs) == 1 else "after the last epoch of each model"


def _last_epoch_rows(rows: Sequence[Row]) -> list[list[Row]]:
    return [row_values.rows_at_epoch(variant_rows, None) for variant_rows in labels.variants(rows).split(rows).values()]


def _audited_counts(rows: Sequence[Row]) -> str:
    sizes = {(r.members, r.nonmembers) for r in rows if r.members is not None and r.nonmembers is not None}
    if len(sizes) != 1:
        return ""
    members, nonmembers = sizes.pop()
    return f"{members:,} members and {nonmembers:,} non-members"


def _shared_settings(rows: Sequence[Row]) -> str:
    # No column name contains the settings that all cells of a method share. `_metric_with_settings` adds the metric's.
    bare = [dataclasses.replace(r, metric_settings="") for r in rows]
    methods = {
        name: row_values.split_settings(settings) for name, settings in labels.variants(bare).shared_settings.items()
    }
    everywhere: list[str] = []
    if len(methods) == len({r.method for r in rows}) > 1:
        first, *others = methods.values()
        everywhere = [p for p in first if all(p in parts for parts in others)]
    own_settings = {name: [p for p in parts if p not in everywhere] for name, parts in methods.items()}
    settings_by_name = [
        *labels.datasets(bare).shared_settings.items(),
        ("every method", ", ".join(everywhere)),
        *((name, ", ".join(parts)) for name, parts in own_settings.items()),
        *labels.attacks(bare).shared_settings.items(),
    ]
    text = "; ".join(f"{name} {settings}" for name, settings in settings_by_name if settings)
    return f"Non-default settings: {text}" if text else ""
