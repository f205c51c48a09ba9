"""What private training spent: epsilon by its accountant, an upper bound, beside what an attack showed, a lower bound.

The accountant's bound holds for any attack and any text; an attack's, where one was measured, for this one model. A lower bound
above the upper one at the same delta would be a fault in the training's privacy.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, Table

UPPER_BOUND_METRIC, LOWER_BOUND_METRIC = "accountant_epsilon", "epsilon_lower_bound"


def privacy_spent(rows: Sequence[Row]) -> Table:
    """Epsilon of each private training after its last epoch: at most by the accountant, at least by the attacks.

    A line for each seed, since bounds are not averaged. Raises `DataError` where nothing was trained privately.
    """
    spent = [r for r in rows if r.metric == UPPER_BOUND_METRIC]
    if not spent:
        raise DataError("nothing was trained with differential privacy; add dp_lora or dp_full to the methods")
    lead, variants = LeadColumns(rows), labels.variants(rows)
    lines: list[tuple[str, ...]] = []
    for head, there in lead.split(rows).items():
        for method, own in variants.split(there).items():
            cells = sorted({(r.seed, r.cell) for r in own if r.metric == UPPER_BOUND_METRIC})
            lines += [(*head, method, *_line([r for r in own if (r.seed, r.cell) == cell])) for cell in cells]
    header = ("method", "seed", "epoch", "noise multiplier", "delta", "epsilon at most", "epsilon at least")
    note = (
        "Epsilon at most: by opacus's accountant, for one text in or out of the training, at the delta beside it; a text of which "
        "there are k copies has up to k times as much. Epsilon at least: what an attack showed, with the settings of its metric, "
        "where a study measures it; the two compare at one delta only."
    )
    return Table("What private training spent", (*lead.header, *header), tuple(lines), note)


def _line(cell: Sequence[Row]) -> tuple[str, ...]:
    facts = {r.metric: r.value for r in cell if r.epoch is None}
    last = max((r for r in cell if r.metric == UPPER_BOUND_METRIC), key=lambda r: r.epoch or 0)
    shown = sorted(
        (r for r in cell if r.metric == LOWER_BOUND_METRIC and r.epoch == last.epoch), key=lambda r: r.metric_settings
    )
    least = "; ".join(f"{row_values.format_number(r.value)} ({r.metric_settings or 'defaults'})" for r in shown)
    return (
        str(last.seed),
        str(last.epoch),
        row_values.format_number(facts["noise_multiplier"]),
        f"{facts['delta']:.2g}",
        row_values.format_number(last.value),
        least or row_values.MISSING,
    )
