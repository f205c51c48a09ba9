"""Exposure of canaries by method, number of repetitions and epoch.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer. USENIX Security 2019.
arXiv 1802.08232, Figures 4 and 5 combined. Departs from the paper: adds two controls, the base model's exposure of the
same canaries and the exposure of held-out canaries.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.row import is_base_row
from byheart.core.types import Estimate, Row, Table

MAX_EPOCH_COLUMNS = 5
"""Maximum number of epoch columns; with more epochs, evenly spaced ones up to the last are shown."""

HELD_OUT = "held out"


def exposure(rows: Sequence[Row]) -> Table:
    """Mean exposure (bits) of canaries by method, repetitions and epoch; higher is more memorized, 1.44 is chance.

    Raises `DataError` without rows of exposure.
    """
    measured = [r for r in rows if r.metric in {"exposure", "held_out_exposure"}]
    if not measured:
        raise DataError(
            "table exposure: no rows of exposure. Set data.canaries and metrics: [exposure, held_out_exposure]."
        )
    lead, variants = LeadColumns(measured), labels.variants(measured)
    epochs = _displayed_epochs(sorted({r.epoch for r in measured if r.epoch}))
    estimators = sorted({_estimator(r) for r in measured}, reverse=True)
    lines = [
        (
            *head,
            method,
            _estimator_label(estimator, cell_rows),
            _repetitions_label(repetitions),
            _format_base_value(cell_rows),
            *(_value_at_epoch(cell_rows, epoch) for epoch in epochs),
        )
        for head, lead_rows in lead.split(measured).items()
        for method, method_rows in variants.split(lead_rows).items()
        for estimator in estimators
        for repetitions in sorted({_repetitions(r) for r in method_rows if _estimator(r) == estimator})
        if (cell_rows := [r for r in method_rows if _estimator(r) == estimator and _repetitions(r) == repetitions])
    ]
    header = (
        *lead.header,
        "method",
        "estimated by",
        "trained on",
        labels.BASE_LABEL,
        *(f"epoch {e:g}" for e in epochs),
    )
    note = (
        f"Mean exposure in bits; in brackets: {row_values.interval_description(measured)}, assuming independent canaries. "
        "Canaries outside the training data have 1.44 bits on average: held-out canaries, and all canaries on the base "
        "model. The estimate by sampling is at most log2(references + 1). The estimate by extrapolation assumes a "
        "skew-normal distribution of the references and is at most twice that. Where the references do not have this "
        "distribution (p < 0.1), the estimate is that by sampling; if a canary is then likelier than all references, the table "
        "shows ≥ and the low end."
    )
    if any("deduplicate=" in r.training_settings for r in measured):
        note += (
            " With deduplicate, copies of a canary are removed before training: the column counts the planted copies."
        )
    return Table("Exposure of canaries", header, tuple(lines), note)


def _displayed_epochs(epochs: Sequence[float]) -> list[float]:
    if len(epochs) <= MAX_EPOCH_COLUMNS:
        return list(epochs)
    return [epochs[round(i * (len(epochs) - 1) / (MAX_EPOCH_COLUMNS - 1))] for i in range(MAX_EPOCH_COLUMNS)]


def _estimator(row: Row) -> str:
    return row_values.parse_settings(row.metric_settings).get("estimate", "sampling")


def _estimator_label(estimator: str, rows: Sequence[Row]) -> str:
    bounds = sum(_is_bound(r) for r in rows)
    if not bounds:
        return estimator
    return "sampling (no fit)" if bounds == len(rows) else f"{estimator} (≥: no fit)"


def _is_bound(row: Row) -> bool:
    """Return whether an exposure is a lower bound, because no distribution fits the references."""
    return row.low is not None and row.high is None


def _format(rows: Sequence[Row], estimate: Estimate | None) -> str:
    """Return an estimate of these rows; if one of them is a lower bound, the lowest end: "≥ 5.76"."""
    if not any(map(_is_bound, rows)):
        return row_values.format_estimate(estimate)
    lowest = min(r.low for r in rows if r.low is not None)
    return f"≥ {row_values.format_number(lowest)}"


def _format_base_value(rows: Sequence[Row]) -> str:
    of_base = [r for r in rows if is_base_row(r)]
    return _format(of_base, row_values.base_estimate(of_base))


def _repetitions(row: Row) -> int:
    """Return how often a row's canaries occur in the training data: 0 for held-out canaries."""
    return int(row_values.parse_settings(row.metric_settings).get("repeated", "1")) if row.metric == "exposure" else 0


def _repetitions_label(repetitions: int) -> str:
    return row_values.format_times(repetitions) if repetitions else HELD_OUT


def _value_at_epoch(rows: Sequence[Row], epoch: float) -> str:
    at_epoch = [r for r in rows if r.epoch == epoch]
    return _format(at_epoch, row_values.pooled_estimate(at_epoch))
