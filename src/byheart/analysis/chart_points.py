"""Convert rows to the data points of figures: one point per number, with display names, pooled over seeds and per seed.

All figures of rows share this list and filter it by chart parameters, so a page contains every number once, and one switch
changes every figure.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from byheart.analysis import labels, row_values
from byheart.core import defaults, registry
from byheart.core.errors import DataError
from byheart.core.row import without_initialized
from byheart.core.types import Row

ALL_SEEDS = ""
"""Value of `seed` for points that pool seeds, and for points of a single seed."""

RATE_SETTING = "learning_rate="
"""Beginning of the setting that envelopes over learning rates ignore."""

Point = dict[str, Any]


class ChartNames(NamedTuple):
    """Display names of the rows' data sets (with base models), methods, attacks and metrics, in reading order."""

    panels: labels.DisplayNames
    series: labels.DisplayNames
    attacks: labels.DisplayNames
    metrics: dict[tuple[str, str], str]


def leakage_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of attack metrics, without metrics of cost, which only tables show."""
    return [r for r in without_initialized(rows) if _is_leakage(r)]


def _is_leakage(row: Row) -> bool:
    return bool(row.attack) and row.epoch is not None and row.metric not in defaults.COST_METRICS


def perplexity_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of validation perplexity."""
    return [r for r in without_initialized(rows) if _is_perplexity(r)]


def _is_perplexity(row: Row) -> bool:
    return row.metric == "perplexity" and not row.attack and row.epoch is not None


def chart_names(rows: Sequence[Row]) -> ChartNames:
    """Return the display names of the rows. A metric's settings are part of the metric's name, not of the attack's."""
    measured = sorted({(r.metric, r.metric_settings) for r in leakage_rows(rows)}, key=lambda m: (m[0] != "auc", m))
    return ChartNames(
        labels.panels(rows),
        labels.variants(rows),
        labels.attacks([r for r in rows if r.attack], of_metrics=False),
        {m: _metric_label(*m) for m in measured},
    )


def attacks_by_adversary(rows: Sequence[Row], chosen: Collection[str] | None = None) -> dict[str, list[str]]:
    """Return the display names of attacks by what their adversary must have, the weakest adversary first.

    `chosen` are attacks of the rows (None: all).
    """
    attacks = chart_names(rows).attacks
    return {
        adversary: list(attacks.split(adversary_rows))
        for adversary, adversary_rows in labels.adversaries(
            r for r in leakage_rows(rows) if chosen is None or r.attack in chosen
        ).items()
    }


def rate_families(rows: Sequence[Row]) -> labels.DisplayNames:
    """Return the display names of methods, where cells that differ only in the learning rate have one name."""
    return labels.variants([without_rate(r) for r in rows])


def without_rate(row: Row) -> Row:
    """Return the row without its learning rate."""
    if RATE_SETTING not in row.method_settings + row.training_settings:
        return row

    def other(settings: str) -> str:
        return ", ".join(s for s in row_values.split_settings(settings) if not s.startswith(RATE_SETTING))

    return dataclasses.replace(
        row, method_settings=other(row.method_settings), training_settings=other(row.training_settings)
    )


def _metric_label(metric: str, settings: str) -> str:
    if metric == "tpr_at_fpr":
        return f"TPR at {100 * fpr_setting(settings):g} % FPR"
    return " ".join(x for x in (labels.metric_name(metric), settings) if x)


def fpr_setting(settings: str) -> float:
    """Return the false positive rate (0 to 1) at which a row of `tpr_at_fpr` was measured."""
    return float(
        row_values.parse_settings(settings).get("fpr")
        or registry.default_settings(registry.load_function("metrics", "tpr_at_fpr"))["fpr"]
    )


def _chance_level(row: Row) -> float | None:
    if row.metric in {"auc", "group_auc"}:
        return row_values.CHANCE_AUC
    return fpr_setting(row.metric_settings) if row.metric == "tpr_at_fpr" else None


def attack_and_metric_names(rows: Sequence[Row], attack: str, metric: str = "auc") -> tuple[str, str]:
    """Return the display names of an attack and a metric.

    Raises `DataError`, with the measured attacks, if no row has this metric of this attack.
    """
    measured = [r for r in leakage_rows(rows) if (r.attack, r.metric) == (attack, metric)]
    if not measured:
        attacks = ", ".join(sorted({r.attack for r in rows if r.attack})) or "none"
        raise DataError(
            f"figure: needs the metric {metric!r} of the attack {attack!r} by epoch, which was not measured. "
            f"Measured attacks: {attacks}."
        )
    names = chart_names(rows)
    first = min(measured, key=lambda r: (r.metric_settings, r.attack_settings))
    return names.attacks(first), names.metrics[first.metric, first.metric_settings]


def points(rows: Sequence[Row]) -> list[Point]:
    """Return a point for every attack metric by epoch, with the perplexity of that epoch, and for every perplexity.

    Several seeds give one point with their mean and its interval, and one point per seed. `last` is the last epoch
    of the point's model, `chance` the level of random guessing. Points of an initialized method have `initialized`; all
    figures but the frontier leave them out. `family` is the series without its learning rate, if that is another name. Values
    that are not finite are left out.
    """
    names, data, base = chart_names(rows), labels.datasets(rows), labels.bases(rows)
    families = rate_families(rows)
    measured = [
        *leakage_rows(rows),
        *perplexity_rows(rows),
        *(r for r in rows if r.initialized and (_is_leakage(r) or _is_perplexity(r))),
    ]
    measured = [r for r in measured if math.isfinite(r.value)]
    perplexity_of = {(*names.panels.key(r), r.cell, r.epoch, r.initialized): r.value for r in measured if not r.attack}
    rows_by_point: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for r in measured:
        attack_and_metric = (
            ("", "perplexity") if not r.attack else (names.attacks(r), names.metrics[r.metric, r.metric_settings])
        )
        rows_by_point[names.panels(r), names.series(r), *attack_and_metric, r.epoch, r.initialized].append(r)
    last: defaultdict[tuple[str, str], float] = defaultdict(int)
    for panel, series, _, _, epoch, _ in rows_by_point:
        last[panel, series] = max(last[panel, series], epoch)
    result: list[Point] = []
    for (panel, series, attack, metric, epoch, initialized), seeds in sorted(
        rows_by_point.items(), key=lambda item: item[0]
    ):
        point: Point = {
            "panel": panel,
            "data": data(seeds[0]),
            "base": base(seeds[0]),
            "series": series,
            "attack": attack,
            "metric": metric,
            "epoch": epoch,
        }
        point |= {"last": last[panel, series], "chance": _chance_level(seeds[0])}
        point |= {"initialized": True} if initialized else {}
        family = families(without_rate(seeds[0]))
        point |= {"family": family} if family != series else {}
        per_seed = [(str(r.seed), [r]) for r in sorted(seeds, key=lambda r: r.seed)] if len(seeds) > 1 else []
        for seed, of_seed in ((ALL_SEEDS, seeds), *per_seed):
            keys = [(*names.panels.key(r), r.cell, epoch, initialized) for r in of_seed]
            perplexities = [perplexity_of[k] for k in keys if k in perplexity_of]
            result.append({**point, "seed": seed, **pooled_values(of_seed), "perplexity": _mean(perplexities)})
    return result


def pooled_values(rows: Sequence[Row]) -> Point:
    """Return the value of a point with its interval and the numbers of texts, pooled over the seeds of these rows."""
    pooled = row_values.pooled_estimate(rows)
    return {} if pooled is None else {**pooled._asdict(), "members": rows[0].members, "nonmembers": rows[0].nonmembers}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
