"""LoRA by adapted layers: Table 4 of "Impact of Fine-Tuning Methods on Memorization in LLMs", as a figure.

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: adds intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import ALL_SEEDS, attack_and_metric_names, chart_names, leakage_rows, points
from byheart.analysis.lora_placement import placement_rows
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    LEAKAGE_FILTER,
    PANEL_FILTER,
    SEED_FILTER,
    filter_transform,
    pick_parameters,
    point_tooltips,
    small_multiples,
)


def lora_placement(
    rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None
) -> Figure:
    """Leakage of LoRA by adapted layers, under one attack; a higher value means more leakage.

    `epoch` None is the last epoch. Raises `DataError` for fewer than two placements.
    """
    placed = placement_rows(leakage_rows(rows))
    if len({r.method for r in placed}) < 2:  # noqa: PLR2004 - a comparison needs two placements
        raise DataError(
            "figure lora_placement: fewer than two placements of LoRA. Add lora with two values of `targets` or more."
        )
    attack_name, measure = attack_and_metric_names(placed, attack, metric)
    import altair as alt

    names = chart_names(placed)
    base = alt.Chart()
    down = alt.Y("series:N", sort=list(names.series.names.values()), title="layers that LoRA adapts")
    across = alt.X("value:Q", title=measure, scale=alt.Scale(zero=False))
    bars = base.mark_rule(opacity=0.6, strokeWidth=1.6, color=labels.method_color("lora"), aria=False)
    dots = base.mark_point(filled=True, opacity=1, size=60, color=labels.method_color("lora"))
    chance = base.transform_filter("isValid(datum.chance)").mark_rule(strokeDash=[1, 3], style="level", aria=False)
    chart = small_multiples(
        [
            chance.encode(x=alt.X("mean(chance):Q")),
            bars.encode(x=alt.X("low:Q"), x2="high:Q", y=down),
            dots.encode(x=across, y=down, tooltip=point_tooltips()),
        ],
        list(names.panels.split(placed)),
        [filter_transform(LEAKAGE_FILTER, SEED_FILTER, PANEL_FILTER, "datum.epoch === min(pick_epoch, datum.last)")],
        pick_parameters(
            attack=attack_name,
            metric=measure,
            seed=ALL_SEEDS,
            panel="",
            epoch=max(r.epoch or 0 for r in placed) if epoch is None else epoch,
        ),
        data="placements",
        size=(230, 34 * len(names.series.names)),
        grows=False,
    )
    words = f"Bars: {row_values.interval_description(placed)}; dotted line: chance."
    return Figure(
        f"{measure} of LoRA by adapted layers",
        chart,
        {"placements": points(placed)},
        words,
        "Leakage of LoRA by adapted layers",
    )
