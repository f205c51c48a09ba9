"""Leakage against fit: AUC of an attack and perplexity of the training texts, by epoch.

Methods that reach the same fit can leak the same amount in a different number of steps. Samuel Yeom, Irene Giacomelli, Matt
Fredrikson, Somesh Jha, Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting, 2018, arXiv 1709.01604 relate the
advantage of an attack that thresholds the loss to the generalization error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import attack_and_metric_names, leakage_rows, pooled_values
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    PANEL_FILTER,
    chance_level_layers,
    filter_transform,
    pick_parameters,
    small_multiples,
)
from byheart.figures._series_style import series_encodings, series_style


def leakage_by_fit(rows: Sequence[Row], *, attack: str = "loss") -> Figure:
    """AUC of an attack against the perplexity of the training texts, one path for each method through its epochs.

    Paths on one curve mean that leakage follows from the fit, whatever the method. A path above another leaks more at an equal fit.
    Raises `DataError` without rows of train perplexity at the attack's epochs.
    """
    attack_name, _ = attack_and_metric_names(rows, attack)
    fit = {(r.cell, r.epoch): r for r in rows if r.metric == "train_perplexity" and not r.attack and not r.initialized}
    drawn = [
        r
        for r in leakage_rows(rows)
        if (r.attack, r.metric) == (attack, "auc") and r.epoch and (r.cell, r.epoch) in fit
    ]
    if not drawn:
        raise DataError(
            "figure leakage_by_fit: no perplexity of the training texts after an epoch. Add the metric train_perplexity to the study."
        )
    variants, panels = labels.variants(rows), labels.panels(rows)
    by_point: defaultdict[tuple[str, str, float], list[Row]] = defaultdict(list)
    for r in drawn:
        by_point[panels(r), variants(r), r.epoch or 0].append(r)
    points = [
        {
            "panel": panel,
            "series": series,
            "epoch": epoch,
            "fit": sum(fit[r.cell, r.epoch].value for r in seeds) / len(seeds),
            "chance": row_values.CHANCE_AUC,
            **pooled_values(seeds),
        }
        for (panel, series, epoch), seeds in sorted(by_point.items())
    ]
    title = f"AUC of the attack {attack_name} against the perplexity of the training texts"
    words = f"y axis: AUC. Each path runs through the epochs. Bars: {row_values.interval_description(drawn)}; dotted line: chance."
    return Figure(
        title,
        _chart(rows, [n for n in panels.names.values() if n in {p["panel"] for p in points}]),
        {"fit": points},
        words,
        "Leakage against fit (perplexity of the training texts)",
    )


def _chart(rows: Sequence[Row], panels: Sequence[str]) -> Any:
    import altair as alt

    style = series_style(labels.variants(rows))
    base: Any = alt.Chart()
    x = alt.X(
        "fit:Q",
        title="perplexity of the training texts (left: closer fit)",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(tickCount=5, format="~r"),
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, nice=False))
    tooltips = [
        alt.Tooltip("series:N", title="method"),
        alt.Tooltip("epoch:Q", title="epoch"),
        alt.Tooltip("fit:Q", title="perplexity of the training texts", format=".4~r"),
        *(
            alt.Tooltip(f"{f}:Q", title=name, format=".3f")
            for f, name in (("value", "AUC"), ("low", "low"), ("high", "high"))
        ),
    ]
    unnamed = series_encodings(style, named=False)
    bars = base.mark_rule(opacity=0.4, strokeWidth=1.1, aria=False).encode(
        x=x, y=alt.Y("low:Q", title=None), y2="high:Q", **unnamed
    )
    path = base.mark_line(strokeWidth=1.5, aria=False).encode(
        x=x, y=y, order="epoch:Q", **series_encodings(style, named=False, dashed=True, marked=True)
    )
    dots = base.mark_point(filled=True, opacity=1, size=30).encode(
        x=x, y=y, tooltip=tooltips, **series_encodings(style, named=False, shaped=True)
    )
    return small_multiples(
        [*chance_level_layers(base), bars, path, dots],
        panels,
        [filter_transform(PANEL_FILTER)],
        pick_parameters(panel=""),
        data="fit",
        grows=False,
        marked=True,
    ).resolve_scale(x="independent")
