"""Rows as the points of figures: one a number, under the names that a reader sees, seeds pooled and each for itself.

All figures of rows draw from this one list and pick from it by parameters of their own, so that a page holds every number
once and a switch on it changes every picture.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from byheart.analysis import labels, row_values
from byheart.core import defaults, registry
from byheart.core.errors import DataError
from byheart.core.types import Row

ALL_SEEDS = ""
"""What stands for the seed where seeds are pooled, or where there is one only."""

Point = dict[str, Any]


class ChartNames(NamedTuple):
    """What the rows are about, in reading order: data sets (with base models), methods, attacks, metrics."""

    panels: labels.DisplayNames
    series: labels.DisplayNames
    attacks: labels.DisplayNames
    metrics: dict[tuple[str, str], str]


def leakage_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that say what an attack finds; what it took is told in tables."""
    return [r for r in rows if r.attack and r.epoch is not None and r.metric not in defaults.COST_METRICS]


def perplexity_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of validation perplexity."""
    return [r for r in rows if r.metric == "perplexity" and not r.attack and r.epoch is not None]


def chart_names(rows: Sequence[Row]) -> ChartNames:
    """Return how everything in the rows is called. A metric's settings are told with the metric, not with the attack."""
    bare = [_without_metric_settings(r) for r in rows]
    measured = sorted({(r.metric, r.metric_settings) for r in leakage_rows(rows)}, key=lambda m: (m[0] != "auc", m))
    return ChartNames(
        labels.panels(rows),
        labels.variants(rows),
        labels.attacks([r for r in bare if r.attack]),
        {m: _metric_label(*m) for m in measured},
    )


def _without_metric_settings(row: Row) -> Row:
    return dataclasses.replace(row, metric_settings="")


def _metric_label(metric: str, settings: str) -> str:
    if metric == "tpr_at_fpr":
        return f"TPR at {100 * fpr_setting(settings):g} % FPR"
    return " ".join(x for x in (labels.metric_name(metric), settings) if x)


def fpr_setting(settings: str) -> float:
    """Return the share of false alarms at which a row of `tpr_at_fpr` was measured."""
    return float(
        row_values.parse_settings(settings).get("fpr")
        or registry.default_settings(registry.load_function("metrics", "tpr_at_fpr"))["fpr"]
    )


def _chance_level(row: Row) -> float | None:
    if row.metric in {"auc", "group_auc"}:
        return row_values.CHANCE_AUC
    return fpr_setting(row.metric_settings) if row.metric == "tpr_at_fpr" else None


def attack_and_metric_names(rows: Sequence[Row], attack: str, metric: str = "auc") -> tuple[str, str]:
    """Return what an attack and a metric are called among the points.

    Raises `DataError`, with the attacks that there are, where the one was not measured by the other.
    """
    found = [r for r in leakage_rows(rows) if (r.attack, r.metric) == (attack, metric)]
    if not found:
        known = ", ".join(sorted({r.attack for r in rows if r.attack})) or "none"
        raise DataError(f"the figure needs the {metric!r} of the attack {attack!r} by epoch; attacks: {known}")
    names = chart_names(rows)
    first = min(found, key=lambda r: (r.metric_settings, r.attack_settings))
    return names.attacks(_without_metric_settings(first)), names.metrics[first.metric, first.metric_settings]


def points(rows: Sequence[Row]) -> list[Point]:
    """Return every leak by epoch with the perplexity of the same epoch beside it, and every perplexity.

    Several seeds give their mean, with the lowest and highest as ends, and each one its own point as well. `last` is the
    last epoch of the point's model, `chance` what guessing reaches. What is not finite is left out.
    """
    names, data, base = chart_names(rows), labels.datasets(rows), labels.bases(rows)
    measured = [r for r in (*leakage_rows(rows), *perplexity_rows(rows)) if math.isfinite(r.value)]
    utility = {(*names.panels.key(r), r.cell, r.epoch): r.value for r in measured if not r.attack}
    held: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for r in measured:
        called = (
            ("", "perplexity")
            if not r.attack
            else (names.attacks(_without_metric_settings(r)), names.metrics[r.metric, r.metric_settings])
        )
        held[names.panels(r), names.series(r), *called, r.epoch].append(r)
    last: defaultdict[tuple[str, str], int] = defaultdict(int)
    for panel, series, _, _, epoch in held:
        last[panel, series] = max(last[panel, series], epoch)
    found: list[Point] = []
    for (panel, series, attack, metric, epoch), those in sorted(held.items(), key=lambda place: place[0]):
        labelled: Point = {
            "panel": panel,
            "data": data(those[0]),
            "base": base(those[0]),
            "series": series,
            "attack": attack,
            "metric": metric,
            "epoch": epoch,
        }
        labelled |= {"last": last[panel, series], "chance": _chance_level(those[0])}
        apart = [(str(r.seed), [r]) for r in sorted(those, key=lambda r: r.seed)] if len(those) > 1 else []
        for seed, of_seed in ((ALL_SEEDS, those), *apart):
            perplexities = [v for r in of_seed if (v := utility.get((*names.panels.key(r), r.cell, epoch))) is not None]
            found.append({**labelled, "seed": seed, **_pooled_values(of_seed), "perplexity": _mean(perplexities)})
    return found


def _pooled_values(rows: list[Row]) -> Point:
    pooled = row_values.pooled_estimate(rows)
    return {} if pooled is None else {**pooled._asdict(), "members": rows[0].members, "nonmembers": rows[0].nonmembers}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
