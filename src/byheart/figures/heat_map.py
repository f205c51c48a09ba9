"""Heat map of methods by attacks: Table 2 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: adds intervals, every epoch, and the base model, and
groups attacks by what their adversary must have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.chart import INK, Figure
from byheart.analysis.chart_points import ALL_SEEDS, attacks_by_adversary, chart_names, leakage_rows, points
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    PANEL_FILTER,
    SEED_FILTER,
    TRAINED_FILTER,
    filter_transform,
    pick_parameters,
    small_multiples,
)

CELL_SIZE = (54, 30)
"""Width and height of a cell (pixels)."""
HEADING_WIDTH = 600
"""Maximum width of a label (pixels)."""
MAX_LEVEL_NAME_CHARACTERS = 11
"""Maximum number of characters of a column's name that fits its cell."""
AUC_METRICS = {"auc", "group_auc"}
"""Metrics with chance level 0.5 and maximum 1: their colors start and end there, whatever was measured."""


def heat_map(rows: Sequence[Row], *, metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None) -> Figure:
    """Leakage of every method under every attack, with intervals; darker means more leakage, pale is chance.

    `epoch` None is the last epoch. Raises `DataError` for fewer than two attacks, or for a metric without rows.
    """
    measured = [r for r in leakage_rows(rows) if r.metric == metric]
    if len({r.attack for r in measured}) < 2:  # noqa: PLR2004 - one attack is one column of a table
        raise DataError(f"figure heat_map: fewer than two attacks have the metric {metric!r}. Add another attack.")
    names = chart_names(rows)
    measure = names.metrics[min((r.metric, r.metric_settings) for r in measured)]
    columns = [labels.BASE_LABEL, *chart_names(measured).series.names.values()]
    lines_by_metric = {name: _lines(rows, metric, settings) for (metric, settings), name in names.metrics.items()}
    headings = [f"{adversary}:" for adversary in attacks_by_adversary(rows)]
    auc_names = sorted(
        {names.metrics[r.metric, r.metric_settings] for r in leakage_rows(rows) if r.metric in AUC_METRICS}
    )
    chart = small_multiples(
        _layers(columns, lines_by_metric, headings),
        list(names.panels.split(measured)),
        _transforms(auc_names),
        pick_parameters(
            metric=measure, seed=ALL_SEEDS, panel="", epoch=_last_epoch(measured) if epoch is None else epoch
        ),
        size=(CELL_SIZE[0] * len(columns), CELL_SIZE[1] * len(lines_by_metric[measure])),
        columns=1,
        grows=False,
    ).resolve_scale(x="independent", y="independent")
    words = f"Small numbers: {row_values.interval_description(measured)}."
    return Figure(
        f"{measure} by attack and method", chart, {"points": points(rows)}, words, "Leakage by method and attack"
    )


def _lines(rows: Sequence[Row], metric: str, settings: str) -> list[str]:
    """Return the lines of a metric: its attacks, below what their adversary has if there are several adversaries."""
    measured = {r.attack for r in leakage_rows(rows) if (r.metric, r.metric_settings) == (metric, settings)}
    groups = attacks_by_adversary(rows, measured)
    return [line for name, attacks in groups.items() for line in ([f"{name}:"] if len(groups) > 1 else []) + attacks]


def _layers(columns: Sequence[str], lines: Mapping[str, Sequence[str]], headings: Sequence[str]) -> list[Any]:
    """Return the layers of a panel: colored cells, their numbers, and the intervals in small print.

    `lines` are those of each metric. `headings` among them have no cells: each names the adversary of the attacks below it.
    """
    import altair as alt

    base = alt.Chart()
    x = alt.X(
        "column:N",
        sort=list(columns),
        title=None,
        axis=alt.Axis(orient="top", domain=False, ticks=False, **_column_style(columns)),
    )
    axis = alt.Axis(domain=False, ticks=False, **_heading_style(headings))
    domain = alt.ExprRef(f"{json.dumps(lines)}[pick_metric]")
    y = alt.Y("attack:N", scale=alt.Scale(domain=domain), title=None, axis=axis)
    tooltips = [
        *(alt.Tooltip(f"{f}:N", title=t) for f, t in (("column", "method"), ("panel", "data"), ("attack", "attack"))),
        *(
            alt.Tooltip(f"{f}:Q", title=t, format=".5~r")
            for f, t in (("value", "value"), ("low", "interval low"), ("high", "interval high"))
        ),
        *(
            alt.Tooltip(f"{f}:Q", title=t)
            for f, t in (("epoch", "epoch"), ("members", "members"), ("nonmembers", "non-members"))
        ),
    ]
    fill = alt.Color(
        "depth:Q",
        scale=alt.Scale(scheme="oranges", domain=[0, 1], clamp=True),
        legend=None,
        title="shade from pale (0) to dark (1)",
    )
    ink = alt.condition("datum.depth > 0.62", alt.value("#ffffff"), alt.value(INK))
    numbers = base.mark_text(dy=-5, fontSize=10, aria=False).encode(
        x=x, y=y, text=alt.Text("value:Q", format=".3f"), color=ink
    )
    intervals = base.transform_filter("isValid(datum.low)").mark_text(dy=7, fontSize=8, aria=False)
    return [
        base.mark_rect(stroke="white").encode(x=x, y=y, color=fill, tooltip=tooltips),
        numbers,
        intervals.encode(x=x, y=y, text="ends:N", color=ink),
    ]


def _column_style(columns: Sequence[str]) -> dict[str, Any]:
    """Return the style of the columns' names: above their cells if they fit, else all at an angle, so that none overlap."""
    if max(map(len, columns)) <= MAX_LEVEL_NAME_CHARACTERS:
        return {"labelAngle": 0}
    return {"labelAngle": -35, "labelAlign": "left", "labelBaseline": "bottom", "labelOffset": -6}


def _heading_style(headings: Sequence[str]) -> dict[str, Any]:
    """Return the style of labels: a heading begins at the left edge of the cells and runs over its empty line."""
    is_heading = f"indexof({json.dumps(list(headings))}, datum.value) >= 0"
    return {
        "labelAlign": {"condition": {"test": is_heading, "value": "left"}, "value": "right"},
        "labelFontStyle": {"condition": {"test": is_heading, "value": "italic"}, "value": "normal"},
        "labelLimit": HEADING_WIDTH,
    }


def _transforms(auc_names: Sequence[str]) -> list[Any]:
    """Return the transforms that select the cells, pool the base model's rows, and give each cell its shade.

    An AUC is shaded from 0.5 to 1, any other metric over its measured range.
    """
    import altair as alt

    is_auc = f"indexof({json.dumps(list(auc_names))}, datum.metric) >= 0"
    return [
        filter_transform(
            "datum.metric === pick_metric",
            "datum.attack !== ''",
            TRAINED_FILTER,
            SEED_FILTER,
            PANEL_FILTER,
            "datum.epoch === 0 || datum.epoch === min(pick_epoch, datum.last)",
        ),
        alt.CalculateTransform(calculate=f"datum.epoch ? datum.series : '{labels.BASE_LABEL}'", **{"as": "column"}),
        # Every method repeats the rows of the base model, with equal numbers.
        alt.AggregateTransform(
            aggregate=[
                *(
                    alt.AggregatedFieldDef(op="mean", field=f, **{"as": f})
                    for f in ("value", "epoch", "members", "nonmembers")
                ),
                alt.AggregatedFieldDef(op="min", field="low", **{"as": "low"}),
                alt.AggregatedFieldDef(op="max", field="high", **{"as": "high"}),
            ],
            groupby=["panel", "attack", "column", "metric"],
        ),
        alt.JoinAggregateTransform(
            joinaggregate=[
                alt.JoinAggregateFieldDef(op="min", field="value", **{"as": "bottom"}),
                alt.JoinAggregateFieldDef(op="max", field="value", **{"as": "top"}),
            ]
        ),
        alt.CalculateTransform(
            calculate=f"{is_auc} ? (datum.value - {row_values.CHANCE_AUC}) / {1 - row_values.CHANCE_AUC} : "
            "(datum.value - datum.bottom) / max(1e-9, datum.top - datum.bottom)",
            **{"as": "depth"},
        ),
        alt.CalculateTransform(
            calculate="format(datum.low, '.2f') + '\N{EN DASH}' + format(datum.high, '.2f')", **{"as": "ends"}
        ),
    ]


def _last_epoch(rows: Sequence[Row]) -> float:
    return max(r.epoch or 0 for r in rows)
