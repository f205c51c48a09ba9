"""Private attributes by epoch: when the model starts to reveal them, and whether only for members."""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.core.types import Row, Table
from byheart.tables._attributes import attribute_lines, lead_header


def attribute_trajectory(rows: Sequence[Row]) -> Table:
    """Share of private attributes that an attack infers or extracts, by epoch, for members and for non-members.

    Raises `DataError` without rows of private attributes.
    """
    lines = list(attribute_lines(rows))
    epochs = sorted({r.epoch for line in lines for r in line.rows if r.epoch is not None})
    table_rows: list[tuple[str, ...]] = []
    for line in lines:
        for of, name in (("members", "members"), ("nonmembers", "non-members")):
            by_epoch = (line.measure_rows(line.share_measure, f"of={of}", epoch=e) for e in epochs)
            cells = (row_values.format_estimate(row_values.pooled_estimate(epoch_rows)) for epoch_rows in by_epoch)
            table_rows.append((*line.lead, line.variant, line.kind, line.mode, name, *cells))
    header = (*lead_header(rows), "records", *(f"epoch {e}" if e else labels.BASE_LABEL for e in epochs))
    note = (
        f"In brackets: {row_values.interval_description([r for line in lines for r in line.rows])}. Unseen candidate values did "
        "not occur in training, trained values occurred in other training texts."
    )
    return Table("Private attributes by epoch", header, tuple(table_rows), note)
