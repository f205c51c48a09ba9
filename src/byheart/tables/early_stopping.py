"""What early stopping would have kept: the epoch that validation chooses, against the last.

A defence that trains nothing anew: every epoch is observed anyway, so stopping early is a choice among them. Training with
a schedule that falls to nothing by the last epoch is stopped while its rate is still high, as it would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns, auc_rows
from byheart.core.errors import DataError
from byheart.core.types import Row, Table


def early_stopping(rows: Sequence[Row], *, patience: Annotated[int, Ge(1)] = 1) -> Table:
    """AUC and validation perplexity at the epoch that early stopping keeps, and at the last.

    Training stops when so many epochs (`patience`) in a row have not lowered the lowest validation perplexity; the epoch of the
    lowest is kept, 0 where none was better than the untuned model. Raises `DataError` where nothing was tuned or
    no attack was measured.
    """
    measured = auc_rows(rows)
    use = [r for r in rows if r.metric == "perplexity" and not r.attack]
    if not measured or not any(r.epoch for r in use):
        raise DataError("early stopping needs AUC and validation perplexity after epochs of tuning, and there are none")
    lead, variants, attacks = LeadColumns(measured), labels.variants([*measured, *use]), labels.attacks(measured)
    perplexities = lead.split(use)
    lines: list[tuple[str, ...]] = []
    for head, there in lead.split(measured).items():
        read = variants.split(perplexities.get(head, []))
        for name, those in variants.split(there).items():
            kept = _early_stopped_rows(read.get(name, []), patience)
            stops = {r.cell: r.epoch for r in kept}
            if not stops:
                continue
            attacked = [attacks.split(those).get(n, []) for n in attacks.names.values()]
            cells = [_change([r for r in own if r.epoch == stops.get(r.cell, -1)], own) for own in attacked]
            ends = sorted({epoch or 0 for epoch in stops.values()})
            told = " to ".join(dict.fromkeys((str(ends[0]), str(ends[-1]))))
            lines.append((*head, name, told, _change(kept, read[name]), *cells))
    header = ("method", "epoch kept", "perplexity", *(f"{n} AUC" for n in attacks.names.values()))
    note = (
        f"At the epoch that early stopping keeps (patience {patience}) → at the last; in brackets the {row_values.interval_description(measured)}. "
        "The epoch is chosen by the very validation texts whose perplexity is shown, which is a little lower for it."
    )
    return Table("What early stopping would have kept", (*lead.header, *header), tuple(lines), note)


def _early_stopped_rows(rows: Sequence[Row], patience: int) -> list[Row]:
    """Return, for each seed's cell, the row of perplexity at which training with this patience is stopped and returns to."""
    found: list[Row] = []
    for cell in dict.fromkeys(r.cell for r in rows):
        path = sorted((r for r in rows if r.cell == cell), key=lambda r: r.epoch or 0)
        best = path[0]
        for row in path[1:]:
            if (row.epoch or 0) - (best.epoch or 0) > patience:
                break
            best = row if row.value < best.value else best
        found.append(best)
    return found


def _change(kept: Sequence[Row], path: Sequence[Row]) -> str:
    ends = (row_values.pooled_estimate(kept), row_values.pooled_estimate(row_values.rows_at_epoch(path, None)))
    return " → ".join(row_values.format_estimate(end) for end in ends)
