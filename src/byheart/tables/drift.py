"""Drift from the base model: where and how far each fine-tuning method moves the model's internal states.

The metric `drift` defines each number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.analysis.drift_rows import CLASSES, MEASURES, DriftRow, drift_rows
from byheart.core.errors import DataError
from byheart.core.types import Row, Table


def drift(rows: Sequence[Row], *, epoch: Annotated[int, Ge(0)] | None = None) -> Table:
    """Distance of hidden states, attention and next-token distribution from the base model; higher is farther.

    `epoch` None is the last epoch, 0 the initialized method. Raises `DataError` without rows of drift.
    """
    measured = drift_rows(rows, epoch)
    if not measured:
        raise DataError("table drift: no drift after this epoch. Add the metric drift to the study.")
    only_rows = [d.row for d in measured]
    lead, variants = LeadColumns(only_rows), labels.variants(only_rows)
    by_cell = {id(d.row): d for d in measured}
    lines: list[tuple[str, ...]] = []
    for head, lead_rows in lead.split(only_rows).items():
        for variant, variant_rows in variants.split(lead_rows).items():
            of_variant = [by_cell[id(r)] for r in variant_rows]
            for measure, of in ((m, o) for m in MEASURES for o in CLASSES):
                chosen = [d for d in of_variant if (d.measure, d.of) == (measure, of)]
                if chosen:
                    lines.append((*head, variant, MEASURES[measure], CLASSES[of], *_cells(chosen)))
    header = (*lead.header, "method", "measure", "texts", "mean over layers", "last layer", "highest at layer")
    note = f"After {'the last epoch' if epoch is None else f'epoch {epoch}'}. In brackets: {row_values.interval_description(only_rows)}."
    return Table("Drift from the base model", header, tuple(lines), note)


def _cells(chosen: Sequence[DriftRow]) -> tuple[str, ...]:
    by_layer: defaultdict[int | None, list[Row]] = defaultdict(list)
    for d in chosen:
        by_layer[d.layer].append(d.row)
    means = {layer: float(np.mean([r.value for r in seeds])) for layer, seeds in by_layer.items()}
    last = row_values.format_estimate(row_values.pooled_estimate(by_layer[max(by_layer, key=lambda n: n or 0)]))
    if None in by_layer:
        return row_values.MISSING, last, row_values.MISSING
    highest = max(means, key=means.__getitem__)
    mean = row_values.format_number(float(np.mean(list(means.values()))))
    return mean, last, f"{highest} ({row_values.format_number(means[highest])})"
