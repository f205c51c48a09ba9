"""Methods by attacks at a glance: Table 2 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: every number with its interval, at any epoch, and the
untuned model beside the methods.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.chart import INK, Figure
from byheart.analysis.chart_points import POOLED, leaks, named, points
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import PANEL, SEED, faceted, picks, where

CELL = (54, 30)
"""Pixels of a cell."""
RANKS = {"auc", "group_auc"}
"""Metrics that are one half for guessing and 1 at most: their colours begin and end there, whatever was measured."""


def heat_map(rows: Sequence[Row], *, metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None) -> Figure:
    """Leakage of every method under every attack, with intervals; the darker the more leaks, pale is guessing.

    `epoch` None is the last. Raises `DataError` for fewer than two attacks, or a metric that was not measured.
    """
    measured = [r for r in leaks(rows) if r.metric == metric]
    if len({r.attack for r in measured}) < 2:  # noqa: PLR2004 - one attack is a column of a table
        raise DataError(f"the heat map needs two attacks or more measured by {metric!r}")
    import altair as alt

    names = named(rows)
    measure = names.metrics[min((r.metric, r.metric_settings) for r in measured)]
    columns = [labels.UNTUNED, *named(measured).series.names.values()]
    lines = list(names.attacks.names.values())
    base = alt.Chart()
    across = alt.X(
        "column:N", sort=columns, title=None, axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False)
    )
    down = alt.Y("attack:N", sort=lines, title=None, axis=alt.Axis(domain=False, ticks=False))
    told = [
        *(alt.Tooltip(f"{f}:N", title=t) for f, t in (("column", "method"), ("panel", "data"), ("attack", "attack"))),
        *(
            alt.Tooltip(f"{f}:Q", title=t, format=".5~r")
            for f, t in (("value", "value"), ("low", "from"), ("high", "to"))
        ),
        *(
            alt.Tooltip(f"{f}:Q", title=t)
            for f, t in (("epoch", "epoch"), ("members", "members"), ("nonmembers", "non-members"))
        ),
    ]
    shades = alt.Scale(scheme="oranges", domain=[0, 1], clamp=True)
    fill = alt.Color("depth:Q", scale=shades, legend=None, title="shade from pale (0) to dark (1)")
    ranks = sorted({names.metrics[r.metric, r.metric_settings] for r in leaks(rows) if r.metric in RANKS})
    is_rank = f"indexof({json.dumps(ranks)}, datum.metric) >= 0"
    ink = alt.condition("datum.depth > 0.62", alt.value("#ffffff"), alt.value(INK))
    number = base.mark_text(dy=-5, fontSize=10, aria=False).encode(
        x=across, y=down, text=alt.Text("value:Q", format=".3f"), color=ink
    )
    ends = base.transform_filter("isValid(datum.low)").mark_text(dy=7, fontSize=8, aria=False)
    chart = faceted(
        [
            base.mark_rect(stroke="white").encode(x=across, y=down, color=fill, tooltip=told),
            number,
            ends.encode(x=across, y=down, text="ends:N", color=ink),
        ],
        list(names.panels.split(measured)),
        [
            where(
                "datum.metric === pick_metric",
                "datum.attack !== ''",
                SEED,
                PANEL,
                "datum.epoch === 0 || datum.epoch === min(pick_epoch, datum.last)",
            ),
            alt.CalculateTransform(calculate=f"datum.epoch ? datum.series : '{labels.UNTUNED}'", **{"as": "column"}),
            # Every method repeats the untuned model, whose numbers are all one.
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
                calculate=f"{is_rank} ? (datum.value - {row_values.CHANCE}) / {1 - row_values.CHANCE} : "
                "(datum.value - datum.bottom) / max(1e-9, datum.top - datum.bottom)",
                **{"as": "depth"},
            ),
            alt.CalculateTransform(
                calculate="format(datum.low, '.2f') + '\N{EN DASH}' + format(datum.high, '.2f')", **{"as": "ends"}
            ),
        ],
        picks(metric=measure, seed=POOLED, panel="", epoch=_last(measured) if epoch is None else epoch),
        size=(CELL[0] * len(columns), CELL[1] * len(lines)),
        columns=1,
        grows=False,
    ).resolve_scale(x="independent", y="independent")
    words = f"Small: {row_values.spread(measured)}."
    return Figure(
        f"{measure} by attack and method", chart, {"points": points(rows)}, words, "Leakage by method and attack"
    )


def _last(rows: Sequence[Row]) -> int:
    return max(r.epoch or 0 for r in rows)
