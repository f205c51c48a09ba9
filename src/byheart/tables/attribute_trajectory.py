"""Private attributes epoch by epoch: when the model begins to tell them, and whether it does so for members alone."""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.core.types import Row, Table
from byheart.tables._attributes import header, lines


def attribute_trajectory(rows: Sequence[Row]) -> Table:
    """Share of members' private attributes picked among others of their kind, or recited, after each epoch.

    A line below each has the non-members'. Raises `DataError` where no attribute was asked for.
    """
    found = list(lines(rows))
    epochs = sorted({r.epoch for line in found for r in line.rows if r.epoch is not None})
    told: list[tuple[str, ...]] = []
    for line in found:
        for of, name in (("members", "members"), ("nonmembers", "non-members")):
            by_epoch = (line.measured(line.share, f"of={of}", epoch=e) for e in epochs)
            cells = (row_values.shown(row_values.pooled(those)) for those in by_epoch)
            told.append((*line.lead, line.variant, line.kind, line.asked, name, *cells))
    names = (*header(rows), "of", *(f"epoch {e}" if e else labels.UNTUNED for e in epochs))
    note = f"In brackets the {row_values.spread([r for line in found for r in line.rows])}."
    return Table("Private attributes by epoch", names, tuple(told), note)
