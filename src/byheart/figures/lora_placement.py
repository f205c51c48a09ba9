"""Where LoRA sits: Table 4 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models", as a picture.

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import POOLED, leaks, named, picked, points
from byheart.analysis.lora_placement import placements
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import LEAK, PANEL, SEED, faceted, picks, told, where


def lora_placement(
    rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None
) -> Figure:
    """Leakage of LoRA by the layers that it adapts, under one attack; farther right leaks more.

    `epoch` None is the last. Raises `DataError` for fewer than two placements.
    """
    own = placements(leaks(rows))
    if len({r.method for r in own}) < 2:  # noqa: PLR2004 - one placement has nothing to be compared with
        raise DataError("the figure of LoRA's placements needs lora with two values of `targets` or more")
    called, measure = picked(own, attack, metric)
    import altair as alt

    names = named(own)
    base = alt.Chart()
    down = alt.Y("series:N", sort=list(names.series.names.values()), title="LoRA on")
    across = alt.X("value:Q", title=measure, scale=alt.Scale(zero=False))
    bars = base.mark_rule(opacity=0.6, strokeWidth=1.6, color=labels.colour("lora"), aria=False)
    dots = base.mark_point(filled=True, opacity=1, size=60, color=labels.colour("lora"))
    guessing = base.transform_filter("isValid(datum.chance)").mark_rule(strokeDash=[1, 3], style="level", aria=False)
    chart = faceted(
        [
            guessing.encode(x=alt.X("mean(chance):Q")),
            bars.encode(x=alt.X("low:Q"), x2="high:Q", y=down),
            dots.encode(x=across, y=down, tooltip=told()),
        ],
        list(names.panels.split(own)),
        [where(LEAK, SEED, PANEL, "datum.epoch === min(pick_epoch, datum.last)")],
        picks(
            attack=called,
            metric=measure,
            seed=POOLED,
            panel="",
            epoch=max(r.epoch or 0 for r in own) if epoch is None else epoch,
        ),
        data="placements",
        size=(230, 34 * len(names.series.names)),
        grows=False,
    )
    words = f"Bars: {row_values.spread(own)}; dotted: guessing."
    return Figure(
        f"{measure} of LoRA by the layers that it adapts",
        chart,
        {"placements": points(own)},
        words,
        "Leakage by the layers that LoRA adapts",
    )
