"""One line per trained model: settings, size, leakage under each attack, and utility."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import cells_across, value_formatter


def cells(rows: Sequence[Row]) -> Table:
    """AUC of each attack and validation perplexity of every trained model at its last epoch, with its settings.

    Every seed has its own line. Raises `DataError` without rows.
    """
    if not rows:
        raise DataError("table cells: no rows. Run a study first.")
    lead, methods = LeadColumns(rows), labels.variants(rows)
    attacks = labels.attacks([r for r in rows if r.attack and r.metric == "auc"])
    lines = tuple(
        (*head, labels.method_name(cell[0].method), *_line(cell, attacks))
        for head, lead_rows in lead.split(rows).items()
        for variant_rows in methods.split(lead_rows).values()
        for cell in _by_seed(variant_rows)
    )
    measured = tuple(f"{name} AUC" for name in attacks.names.values())
    header = ("method", "settings", "seed", "trained parameters", "learning rate", *measured, "perplexity")
    note = "In brackets: 95 % interval. Perplexity: on validation texts, base model → last epoch."
    return Table("Every trained model at its last epoch", (*lead.header, *header), lines, note)


def _by_seed(rows: Sequence[Row]) -> list[list[Row]]:
    keys = {(r.seed, r.cell): None for r in rows}
    return [[r for r in rows if (r.seed, r.cell) == key] for key in sorted(keys)]


def _line(cell: list[Row], attacks: labels.DisplayNames) -> tuple[str, ...]:
    first = cell[0]
    return (
        ", ".join(row_values.split_settings(first.method_settings, first.training_settings)) or "defaults",
        str(first.seed),
        _model_value(cell, "trained_parameters", "{:,.0f}".format),
        _learning_rate(cell),
        *cells_across(attacks, [r for r in cell if r.attack and r.metric == "auc"], value_formatter(None)),
        _perplexity([r for r in cell if r.metric == "perplexity" and not r.attack]),
    )


def _learning_rate(cell: list[Row]) -> str:
    """Return the learning rate; a searched one says so, and whether no rate beyond it was tried."""
    at_end = next((r.value for r in cell if r.metric == "learning_rate_at_end"), None)
    mark = "" if at_end is None else " (searched, end of grid)" if at_end else " (searched)"
    return _model_value(cell, "learning_rate", "{:g}".format) + mark


def _model_value(cell: list[Row], metric: str, format_value: Callable[[float], str]) -> str:
    return next((format_value(r.value) for r in cell if r.metric == metric and not r.attack), row_values.MISSING)


def _perplexity(rows: list[Row]) -> str:
    # The interval is in the table `methods`: this line is long already.
    ends = [row_values.rows_at_epoch(rows, 0), row_values.rows_at_epoch(rows, None)]
    return " → ".join(row_values.format_number(rows[0].value) if rows else row_values.MISSING for rows in ends)
