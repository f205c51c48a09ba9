"""Build a row: an estimate with all its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byheart.core.registry import Choice
from byheart.core.types import Estimate, Row


def build_row(
    labels: Mapping[str, Any],
    epoch: int | None,
    metric: Choice | str,
    estimate: Estimate,
    attack: Choice | None = None,
    scores: str = "",
    label: str = "",
) -> Row:
    """Return the row of a measured number; `labels` are `Row`'s fields from `base` to `seed`, and `cell`.

    `label` distinguishes it from the metric's other numbers, as a setting does: "kind=email, of=members".
    """
    settings = ("" if isinstance(metric, str) else metric.label, label)
    value, low, high, members, nonmembers = estimate
    return Row(
        **labels,
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
