"""Cost of each attack: forward passes over the audited texts, and measured seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byheart.analysis import labels, row_values
from byheart.analysis.comparisons import LeadColumns
from byheart.core import defaults
from byheart.core.errors import DataError
from byheart.core.types import Row, Table
from byheart.tables._columns import AdversaryColumn, cells_across


def costs(rows: Sequence[Row]) -> Table:
    """Forward passes and seconds of each attack for one epoch: the median over the epochs of training.

    Raises `DataError` without stored costs.
    """
    measured = [r for r in rows if r.attack and r.epoch and r.metric in defaults.COST_METRICS]
    if not measured:
        raise DataError(
            "table costs: no row contains an attack's cost. Run a study with at least one epoch and this version of byheart."
        )
    lead, variants, attacks = LeadColumns(measured), labels.variants(measured), labels.attacks(measured)
    adversaries = AdversaryColumn(measured)
    lines = [
        (
            *head,
            *adversaries.cell(attack_rows),
            name,
            _median(attack_rows, "passes"),
            *cells_across(variants, attack_rows, lambda variant_rows: _median(variant_rows, "seconds")),
        )
        for head, lead_rows in lead.split(measured).items()
        for name, attack_rows in attacks.split(lead_rows).items()
    ]
    header = (
        *lead.header,
        *adversaries.header,
        "attack",
        "passes",
        *(f"{name}, seconds" for name in variants.names.values()),
    )
    note = (
        "Cost for one epoch, median over the epochs of training: forward passes over the audited texts, and seconds on "
        "the machine that ran the study. Attacks with the same evidence share its cost; the base model's evidence is "
        "computed once. Times include the training of shadow and reference models up to that epoch."
    )
    return Table("Cost of each attack", header, tuple(lines), note + adversaries.note)


def _median(rows: Sequence[Row], metric: str) -> str:
    values = [r.value for r in rows if r.metric == metric]
    return row_values.format_number(float(np.median(values))) if values else row_values.MISSING
