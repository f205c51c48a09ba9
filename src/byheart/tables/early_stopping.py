"""Early stopping as a defense: leakage and perplexity at the epoch that validation chooses, and at the last epoch.

The table needs no further training: every epoch is observed, so early stopping is a choice among them. A learning rate
schedule that decays to 0 by the last epoch is stopped while the rate is still high, as in a real early stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns, auc_rows
from byheart.core.errors import DataError
from byheart.core.row import without_initialized
from byheart.core.types import Row, Table


def early_stopping(rows: Sequence[Row], *, patience: Annotated[int, Ge(1)] = 1) -> Table:
    """AUC and validation perplexity at the epoch that early stopping chooses, and at the last epoch.

    Training stops at the first observed epoch that is at least `patience` epochs after the lowest validation perplexity until
    then. Early stopping chooses the epoch of this lowest perplexity: 0 if no epoch improves on the base model. Raises
    `DataError` without AUC rows or without perplexity after training.
    """
    measured = auc_rows(without_initialized(rows))
    utility = [r for r in without_initialized(rows) if r.metric == "perplexity" and not r.attack]
    if not measured or not any(r.epoch for r in utility):
        raise DataError(
            "table early_stopping: no AUC and validation perplexity after an epoch of training. "
            "Add an attack and the metrics auc and perplexity."
        )
    lead, variants, attacks = LeadColumns(measured), labels.variants([*measured, *utility]), labels.attacks(measured)
    perplexities = lead.split(utility)
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(measured).items():
        utility_by_variant = variants.split(perplexities.get(head, []))
        for name, variant_rows in variants.split(lead_rows).items():
            chosen = _early_stopped_rows(utility_by_variant.get(name, []), patience)
            stops = {r.cell: r.epoch for r in chosen}
            if not stops:
                continue
            by_attack = [attacks.split(variant_rows).get(n, []) for n in attacks.names.values()]
            cells = [
                _change([r for r in attack_rows if r.epoch == stops.get(r.cell, -1)], attack_rows)
                for attack_rows in by_attack
            ]
            epochs = sorted({epoch or 0 for epoch in stops.values()})
            epoch_range = " to ".join(dict.fromkeys((str(epochs[0]), str(epochs[-1]))))
            lines.append((*head, name, epoch_range, _change(chosen, utility_by_variant[name]), *cells))
    header = ("method", "chosen epoch", "validation perplexity", *(f"{n} AUC" for n in attacks.names.values()))
    note = (
        f"Value at the epoch that early stopping chooses (patience {patience}) → value at the last epoch; in brackets: "
        f"{row_values.interval_description(measured)}. The epoch is chosen on the validation texts whose perplexity is "
        "shown, so that this perplexity is slightly too low."
    )
    return Table("Early stopping: chosen epoch and last epoch", (*lead.header, *header), tuple(lines), note)


def _early_stopped_rows(rows: Sequence[Row], patience: int) -> list[Row]:
    """Return, for each cell, the perplexity row of the epoch that early stopping with this patience chooses."""
    chosen: list[Row] = []
    for cell in dict.fromkeys(r.cell for r in rows):
        path = sorted((r for r in rows if r.cell == cell), key=lambda r: r.epoch or 0)
        best = path[0]
        for row in path[1:]:
            if row.value < best.value:
                best = row
            elif (row.epoch or 0) - (best.epoch or 0) >= patience:
                break
        chosen.append(best)
    return chosen


def _change(chosen: Sequence[Row], path: Sequence[Row]) -> str:
    ends = (row_values.pooled_estimate(chosen), row_values.pooled_estimate(row_values.rows_at_epoch(path, None)))
    return " → ".join(row_values.format_estimate(end) for end in ends)
