"""Exposure of canaries against repetitions and epochs, for each method.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer. USENIX Security 2019.
arXiv 1802.08232, its figures 4 and 5 in one. Departs from the paper: the untuned model's exposure of the same canaries, and
that of canaries that were held out, stand beside.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import format_base_value

MAX_EPOCH_COLUMNS = 5
"""Epochs that are shown: all where there are so many, else the last and others evenly before it."""

HELD_OUT = "held out"


def exposure(rows: Sequence[Row]) -> Table:
    """Mean exposure (bits) of canaries by method, number of repetitions and epoch; canaries never seen have 1.44.

    Raises `DataError` where none was measured.
    """
    measured = [r for r in rows if r.metric in {"exposure", "held_out_exposure"}]
    if not measured:
        raise DataError(
            "no row holds an exposure; set data.canaries and ask for metrics: [exposure, held_out_exposure]"
        )
    lead, variants = LeadColumns(measured), labels.variants(measured)
    epochs = _displayed_epochs(sorted({r.epoch for r in measured if r.epoch}))
    ways = sorted({_estimator(r) for r in measured}, reverse=True)
    lines = [
        (
            *head,
            method,
            way,
            _repetitions_label(often),
            format_base_value(those),
            *(_value_at_epoch(those, e) for e in epochs),
        )
        for head, there in lead.split(measured).items()
        for method, own in variants.split(there).items()
        for way in ways
        for often in sorted({_repetitions(r) for r in own if _estimator(r) == way})
        if (those := [r for r in own if _estimator(r) == way and _repetitions(r) == often])
    ]
    header = (*lead.header, "method", "estimated by", "trained on", labels.BASE_LABEL, *(f"epoch {e}" for e in epochs))
    note = (
        f"Mean exposure in bits; in brackets the {row_values.interval_description(measured)}, canaries taken as independent. Canaries that a model "
        "never saw have 1.44 on average, the untuned model's and those held out too. By sampling there is no more than "
        "log2(references + 1); by extrapolation a skew-normal distribution of the references is taken for granted."
    )
    return Table("Exposure of canaries", header, tuple(lines), note)


def _displayed_epochs(epochs: Sequence[int]) -> list[int]:
    if len(epochs) <= MAX_EPOCH_COLUMNS:
        return list(epochs)
    return [epochs[round(i * (len(epochs) - 1) / (MAX_EPOCH_COLUMNS - 1))] for i in range(MAX_EPOCH_COLUMNS)]


def _estimator(row: Row) -> str:
    return row_values.parse_settings(row.metric_settings).get("estimate", "sampling")


def _repetitions(row: Row) -> int:
    """Return how often a row's canaries were trained on: 0 for those held out."""
    return int(row_values.parse_settings(row.metric_settings).get("repeated", "1")) if row.metric == "exposure" else 0


def _repetitions_label(often: int) -> str:
    return row_values.format_times(often) if often else HELD_OUT


def _value_at_epoch(rows: Sequence[Row], epoch: int) -> str:
    there = [r for r in rows if r.epoch == epoch]
    return row_values.format_estimate(row_values.pooled_estimate(there))
