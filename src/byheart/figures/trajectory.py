"""Leakage by epoch: Figure 1 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: starts at epoch 0, the base model, and adds intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

from byheart.analysis import row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import ALL_SEEDS, attack_and_metric_names, chart_names, leakage_rows, points
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    LEAKAGE_FILTER,
    PANEL_FILTER,
    SEED_FILTER,
    chance_level_layers,
    epoch_axis,
    epoch_path_layers,
    filter_transform,
    height_transforms,
    pick_parameters,
    small_multiples,
)
from byheart.figures._series_style import series_style


def trajectory(rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc") -> Figure:
    """Leakage by epoch under one attack, a line for each method, a panel for each data set; a higher value means more leakage.

    Epoch 0 is the base model. Raises `DataError` without rows of the attack and metric by epoch.
    """
    attack_name, measure = attack_and_metric_names(rows, attack, metric)
    import altair as alt

    names, style = chart_names(rows), series_style(chart_names(leakage_rows(rows)).series)
    base = alt.Chart()
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, nice=False))
    path = epoch_path_layers(base, style, epoch_axis(leakage_rows(rows)), value, alt.Y("low:Q"))
    chart = small_multiples(
        [*chance_level_layers(base), *path],
        list(names.panels.split(leakage_rows(rows))),
        [filter_transform(LEAKAGE_FILTER, SEED_FILTER, PANEL_FILTER), *height_transforms()],
        pick_parameters(attack=attack_name, metric=measure, seed=ALL_SEEDS, panel=""),
        marked=True,
    )
    words = f"Dotted line: chance. Shaded band: {row_values.interval_description(leakage_rows(rows))}."
    return Figure(
        f"{measure} of the attack {attack_name} by epoch", chart, {"points": points(rows)}, words, "Leakage by epoch"
    )
