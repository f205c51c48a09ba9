"""Private attributes epoch by epoch: when the model begins to tell them, and whether it does so for members alone."""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.core.types import Row, Table
from byheart.tables._attributes import attribute_lines, lead_header


def attribute_trajectory(rows: Sequence[Row]) -> Table:
    """Share of members' private attributes picked among others of their kind, or recited, after each epoch.

    A line below each has the non-members'. Raises `DataError` where no attribute was asked for.
    """
    found = list(attribute_lines(rows))
    epochs = sorted({r.epoch for line in found for r in line.rows if r.epoch is not None})
    told: list[tuple[str, ...]] = []
    for line in found:
        for of, name in (("members", "members"), ("nonmembers", "non-members")):
            by_epoch = (line.measure_rows(line.share_measure, f"of={of}", epoch=e) for e in epochs)
            cells = (row_values.format_estimate(row_values.pooled_estimate(those)) for those in by_epoch)
            told.append((*line.lead, line.variant, line.kind, line.mode, name, *cells))
    names = (*lead_header(rows), "of", *(f"epoch {e}" if e else labels.BASE_LABEL for e in epochs))
    note = f"In brackets the {row_values.interval_description([r for line in found for r in line.rows])}."
    return Table("Private attributes by epoch", names, tuple(told), note)
