"""Epsilon of differentially private training: the accountant's upper bound beside the lower bound of an attack.

The accountant's bound holds for any attack and any text; an attack's bound holds for this one model. A lower bound above
the upper bound at the same delta is a fault in the private training.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core.errors import DataError
from byheart.core.types import Row, Table

UPPER_BOUND_METRIC, LOWER_BOUND_METRIC = "accountant_epsilon", "epsilon_lower_bound"


def privacy_spent(rows: Sequence[Row]) -> Table:
    """Epsilon of each model trained with differential privacy, after its last epoch: upper and lower bound.

    Each seed has its own line, because bounds are not averaged. Raises `DataError` without private training.
    """
    spent = [r for r in rows if r.metric == UPPER_BOUND_METRIC]
    if not spent:
        raise DataError("table privacy_spent: no method with differential privacy. Add dp_lora or dp_full to methods.")
    lead, variants = LeadColumns(rows), labels.variants(rows)
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(rows).items():
        for method, method_rows in variants.split(lead_rows).items():
            cells = sorted({(r.seed, r.cell) for r in method_rows if r.metric == UPPER_BOUND_METRIC})
            lines += [(*head, method, *_line([r for r in method_rows if (r.seed, r.cell) == cell])) for cell in cells]
    header = ("method", "seed", "epoch", "noise multiplier", "delta", "epsilon at most", "epsilon at least")
    note = (
        "Epsilon at most: upper bound by the accountant of opacus, for one added or removed training text, at the delta of "
        "its line; a text with k copies has up to k times this epsilon. Epsilon at least: lower bound shown by an attack, "
        "with the settings of its metric, if the study measures it. The two bounds are comparable only at the same delta."
    )
    return Table(
        "Privacy loss (epsilon) of training with differential privacy", (*lead.header, *header), tuple(lines), note
    )


def _line(cell: Sequence[Row]) -> tuple[str, ...]:
    facts = {r.metric: r.value for r in cell if r.epoch is None}
    last = max((r for r in cell if r.metric == UPPER_BOUND_METRIC), key=lambda r: r.epoch or 0)
    bounds = sorted(
        (r for r in cell if r.metric == LOWER_BOUND_METRIC and r.epoch == last.epoch), key=lambda r: r.metric_settings
    )
    lower_bound = "; ".join(f"{row_values.format_number(r.value)} ({r.metric_settings or 'defaults'})" for r in bounds)
    return (
        str(last.seed),
        str(last.epoch),
        row_values.format_number(facts["noise_multiplier"]),
        f"{facts['delta']:.2g}",
        row_values.format_number(last.value),
        lower_bound or row_values.MISSING,
    )
