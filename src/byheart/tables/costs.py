"""What each attack costs: passes over the audited texts, and seconds as they were measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core import defaults
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import cells_across


def costs(rows: Sequence[Row]) -> Table:
    """Passes and seconds of each attack at a tuned epoch: the median over epochs, with every method's seconds.

    Raises `DataError` where no costs were noted.
    """
    noted = [r for r in rows if r.attack and r.epoch and r.metric in defaults.COST_METRICS]
    if not noted:
        raise DataError("no row holds what an attack cost; the untuned base alone was attacked, or byheart was older")
    lead, variants, attacks = LeadColumns(noted), labels.variants(noted), labels.attacks(noted)
    lines = [
        (*head, name, _median(those, "passes"), *cells_across(variants, those, lambda found: _median(found, "seconds")))
        for head, there in lead.split(noted).items()
        for name, those in attacks.split(there).items()
    ]
    header = (*lead.header, "attack", "passes", *(f"{name}, seconds" for name in variants.names.values()))
    note = (
        "Of one epoch: forward passes over the audited texts, and seconds where they were made. Attacks that rest on the "
        "same evidence share its cost, and the base is passed once for all; shadow models count with their training up to "
        "that epoch. Medians over tuned epochs."
    )
    return Table("What each attack costs", header, tuple(lines), note)


def _median(rows: Sequence[Row], metric: str) -> str:
    found = [r.value for r in rows if r.metric == metric]
    return row_values.format_number(float(np.median(found))) if found else row_values.MISSING
