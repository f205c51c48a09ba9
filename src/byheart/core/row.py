"""Build a row: an estimate with all its labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from byheart.core.adversary import default_adversary_label
from byheart.core.json_shapes import as_declared
from byheart.core.registry import Choice
from byheart.core.types import Estimate, Row


def build_row(
    labels: Mapping[str, Any],
    epoch: float | None,
    metric: Choice | str,
    estimate: Estimate,
    attack: Choice | None = None,
    scores: str = "",
    label: str = "",
) -> Row:
    """Return the row of a measured number; `labels` are `Row`'s fields from `base` to `seed`, `cell`, and those with defaults.

    Without the label `adversary`, it is that of the attack with default observations.

    `label` distinguishes it from the metric's other numbers, as a setting does: "kind=email, of=members".
    """
    settings = ("" if isinstance(metric, str) else metric.label, label)
    value, low, high, members, nonmembers = estimate
    row_labels: dict[str, Any] = {"adversary": default_adversary_label(attack.name) if attack else "", **labels}
    return Row(
        **row_labels,
        epoch=epoch,
        attack=attack.name if attack else "",
        attack_settings=attack.label if attack else "",
        metric=metric if isinstance(metric, str) else metric.name,
        metric_settings=", ".join(s for s in settings if s),
        value=float(value),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        members=members,
        nonmembers=nonmembers,
        scores=scores,
    )


LARGEST_EPOCH = 10**9
"""Largest epoch that is read: larger ones are damage, and those above 1e308 are no floating-point numbers."""


def rows_from_json(content: Any) -> list[Row]:
    """Return the rows of a list of JSON objects; raises `ValueError` for a missing or unknown label, and for another type."""
    rows: list[Row] = as_declared(list[Row], content)
    unknown = sorted({name for fields in content for name in fields} - {f.name for f in dataclasses.fields(Row)})
    if unknown:
        raise ValueError(f"unknown label {unknown[0][:100]!r}")
    if any(not 0 <= row.epoch <= LARGEST_EPOCH for row in rows if row.epoch is not None):
        raise ValueError(f"an epoch is not a number between 0 and {LARGEST_EPOCH:,}")
    return rows


def adversary_label(row: Row) -> str:
    """Return what the adversary of a row's attack must have; older rows count as made with default observations."""
    return row.adversary or default_adversary_label(row.attack)


def is_base_row(row: Row) -> bool:
    """Whether a number is of the base model: epoch 0, and not of the initialized method."""
    return row.epoch == 0 and not row.initialized


def without_initialized(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without those of initialized methods, which only comparisons at equal utility read."""
    return [r for r in rows if not r.initialized]
