"""Rows of the metric `drift`, with the measure, the layer and the texts that their settings name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from byheart.analysis import row_values
from byheart.core.types import Row

MEASURES = {
    "hidden": "hidden states, relative L2 distance",
    "cosine": "hidden states, 1 - cosine",
    "attention": "attention weights, total variation",
    "virtual": "attention on virtual tokens",
    "next_token": "next token, KL from base (nats)",
}
"""Name of each measure, in the order of figures and tables."""
CLASSES = {"members": "members", "nonmembers": "non-members", "validation": "validation texts"}
"""Name of each set of texts."""


class DriftRow(NamedTuple):
    """A row with its measure, set of texts, and layer (None for the next-token distribution)."""

    row: Row
    measure: str
    of: str
    layer: int | None


def drift_rows(rows: Sequence[Row], epoch: float | None) -> list[DriftRow]:
    """Return the rows of drift after an epoch; None is the last epoch of each model. The base model has no drift."""
    measured = [r for r in rows if r.metric == "drift" and not r.attack and r.epoch is not None]
    last: dict[str, float] = {}
    for r in measured:
        last[r.cell] = max(last.get(r.cell, 0), r.epoch or 0)
    chosen = [r for r in measured if r.epoch == (last[r.cell] if epoch is None else epoch)]
    return [_parsed(r) for r in chosen if r.initialized or r.epoch]


def _parsed(row: Row) -> DriftRow:
    settings = row_values.parse_settings(row.metric_settings)
    layer = settings.get("layer")
    return DriftRow(row, settings.get("measure", "hidden"), settings["of"], None if layer is None else int(layer))
