"""Leakage by epoch: Figure 1 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: starts at epoch 0, the untuned model, and has bands.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import POOLED, leaks, named, picked, points
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    LEAK,
    PANEL,
    SEED,
    by_epoch,
    coloured,
    ends,
    faceted,
    level,
    looks,
    names_at_ends,
    picks,
    told,
    where,
)


def trajectory(rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc") -> Figure:
    """Leakage by epoch under one attack, a line for each method, a panel for each data set; higher leaks more.

    Epoch 0 is the untuned model. Raises `DataError` where the attack was not measured by this metric at an epoch.
    """
    called, measure = picked(rows, attack, metric)
    import altair as alt

    names, drawn = named(rows), looks(named(leaks(rows)).series)
    base = alt.Chart()
    epoch = by_epoch(leaks(rows))
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, nice=False))
    band = base.mark_area(opacity=0.15, aria=False).encode(x=epoch, y="low:Q", y2="high:Q", **coloured(drawn))
    line = base.mark_line(strokeWidth=1.8, aria=False).encode(
        x=epoch,
        y=value,
        **coloured(drawn, dashed=True),
    )
    dots = base.mark_point(filled=True, opacity=1, size=34).encode(
        x=epoch, y=value, tooltip=told(), **coloured(drawn, shaped=True)
    )
    chart = faceted(
        [*level(base), band, line, *names_at_ends(base, drawn, "epoch:Q", aside=True), dots],
        list(names.panels.split(leaks(rows))),
        [where(LEAK, SEED, PANEL), *ends()],
        picks(attack=called, metric=measure, seed=POOLED, panel=""),
    )
    words = f"Dotted: guessing. Band: {row_values.spread(leaks(rows))}."
    return Figure(
        f"{measure} of the attack {called} by epoch", chart, {"points": points(rows)}, words, "Leakage by epoch"
    )
