"""Utility by epoch: Figure 3 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: starts at epoch 0, the base model, and adds intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import ALL_SEEDS, chart_names, perplexity_rows, points
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    PANEL_FILTER,
    SEED_FILTER,
    TRAINED_FILTER,
    epoch_axis,
    epoch_path_layers,
    filter_transform,
    height_transforms,
    pick_parameters,
    small_multiples,
)
from byheart.figures._series_style import series_style


def perplexity(rows: Sequence[Row]) -> Figure:
    """Validation perplexity by epoch, a line for each method, a panel for each data set; lower is better.

    Epoch 0 is the base model; the scale is logarithmic. Raises `DataError` without rows of perplexity.
    """
    measured = perplexity_rows(rows)
    if not measured:
        raise DataError("figure perplexity: no rows of perplexity by epoch. Add the metric perplexity to the study.")
    import altair as alt

    names, style = chart_names(measured), series_style(chart_names(measured).series)
    base = alt.Chart()
    scale = alt.Scale(type="log", nice=False)
    value = alt.Y("value:Q", title=None, scale=scale, axis=alt.Axis(tickCount=5, format="~r"))
    low = alt.Y("low:Q", scale=scale)
    chart = small_multiples(
        epoch_path_layers(base, style, epoch_axis(measured), value, low),
        list(names.panels.split(measured)),
        [
            filter_transform("datum.metric === 'perplexity'", TRAINED_FILTER, SEED_FILTER, PANEL_FILTER),
            *height_transforms(log=True, independent_scales=True),
        ],
        pick_parameters(seed=ALL_SEEDS, panel=""),
        marked=True,
    ).resolve_scale(y="independent")
    words = (
        f"Shaded band: {row_values.interval_description(measured)}." if any(r.low is not None for r in measured) else ""
    )
    return Figure(
        "Validation perplexity by epoch", chart, {"points": points(rows)}, words, "Validation perplexity by epoch"
    )
