"""Bits of the members that each method stores, per trained parameter. The metric `capacity` defines the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Estimate, Row, Table

SAVINGS = {"saving=total": "bits per parameter", "saving=beyond": "bits per parameter beyond generalization"}


def capacity(rows: Sequence[Row], *, epoch: Annotated[int, Ge(0)] | None = None) -> Table:
    """Bits of the audited members that fine-tuning saves, in total and per trained parameter; higher is more stored.

    `epoch` None is the last epoch. Raises `DataError` without rows of capacity.
    """
    measured = [r for r in rows if r.metric == "capacity" and not r.attack]
    if not measured:
        raise DataError("table capacity: no bits per parameter. Add the metric capacity to the study.")
    parameters = {r.cell: r.value for r in rows if r.metric == "trained_parameters"}
    lead, variants = LeadColumns(measured), labels.variants(measured)
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(measured).items():
        for variant, variant_rows in variants.split(lead_rows).items():
            at_epoch = row_values.rows_at_epoch(variant_rows, epoch)
            by_saving = {s: [r for r in at_epoch if r.metric_settings == s] for s in SAVINGS}
            trained = sorted({parameters[r.cell] for r in at_epoch if r.cell in parameters})
            bits = [_times(r, parameters[r.cell]) for r in by_saving["saving=total"] if r.cell in parameters]
            lines.append(
                (
                    *head,
                    variant,
                    " to ".join(f"{n:,.0f}" for n in dict.fromkeys((trained or [0])[:: max(len(trained) - 1, 1)])),
                    row_values.format_estimate(row_values.pooled_estimate(bits)),
                    *(_scientific(row_values.pooled_estimate(seeds)) for seeds in by_saving.values()),
                )
            )
    header = (*lead.header, "method", "trained parameters", "bits of all audited members", *SAVINGS.values())
    note = (
        f"After {'the last epoch' if epoch is None else f'epoch {epoch}'}. Beyond generalization: minus the mean saving per token "
        f"on non-members. In brackets: {row_values.interval_description(measured)}."
    )
    return Table("Bits of the members per trained parameter", header, tuple(lines), note)


def _times(row: Row, factor: float) -> Row:
    low, high = (None if end is None else factor * end for end in (row.low, row.high))
    return dataclasses.replace(row, value=factor * row.value, low=low, high=high)


def _scientific(estimate: Estimate | None) -> str:
    if estimate is None:
        return row_values.MISSING
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.1e}, {estimate.high:.1e}]"
    return f"{estimate.value:.2e}{ends}"
