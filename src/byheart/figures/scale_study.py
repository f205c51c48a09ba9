"""Leakage by the size of the base model: Table 3 of Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258, as a picture.

After Nicholas Carlini, Daphne Ippolito, Matthew Jagielski, Katherine Lee, Florian Tramer, Chiyuan Zhang, Quantifying
Memorization Across Neural Language Models, ICLR 2023, arXiv 2202.07646, Figure 1a. Departs from both: intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.chart_points import ALL_SEEDS, attack_and_metric_names, chart_names, leakage_rows, points
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import (
    LEAKAGE_FILTER,
    SEED_FILTER,
    chance_level_layers,
    filter_transform,
    pick_parameters,
    point_tooltips,
    series_encodings,
    series_style,
    small_multiples,
)


def scale_study(
    rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None
) -> Figure:
    """Leakage under an attack by base model, a line for each method, a panel for each data set; higher leaks more.

    Models stand by size where full fine-tuning tells it, else by name; `epoch` None is the last. Raises `DataError` for
    fewer than two base models.
    """
    called, measure = attack_and_metric_names(rows, attack, metric)
    own = [r for r in leakage_rows(rows) if (r.attack, r.metric) == (attack, metric)]
    if len({r.base for r in own}) < 2:  # noqa: PLR2004 - one has nothing to be compared with
        raise DataError("the scale study compares base models, and these rows hold one; add another base")
    import altair as alt

    drawn = series_style(chart_names(own).series)
    base = alt.Chart()
    bases = [n for n in labels.bases(rows).names.values() if n in set(map(labels.bases(rows), own))]
    across = alt.X("base:N", sort=bases, title="base model", axis=alt.Axis(labelAngle=-20, labelLimit=120))
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    bars = base.mark_rule(opacity=0.45, aria=False).encode(
        x=across, y="low:Q", y2="high:Q", **series_encodings(drawn, named=False)
    )
    line = base.mark_line(strokeWidth=1.6, aria=False).encode(
        x=across, y=value, **series_encodings(drawn, named=False, dashed=True)
    )
    dots = base.mark_point(filled=True, opacity=1, size=40).encode(
        x=across, y=value, tooltip=point_tooltips(), **series_encodings(drawn, named=False, shaped=True)
    )
    chart = small_multiples(
        [*chance_level_layers(base), bars, line, dots],
        list(labels.datasets(rows).split(own)),
        [filter_transform(LEAKAGE_FILTER, SEED_FILTER, "datum.epoch === min(pick_epoch, datum.last)")],
        pick_parameters(
            attack=called,
            metric=measure,
            seed=ALL_SEEDS,
            epoch=max(r.epoch or 0 for r in own) if epoch is None else epoch,
        ),
        by="data",
    )
    words = f"Bars: {row_values.interval_description(own)}; dotted: guessing."
    return Figure(
        f"{measure} of the attack {called} by base model",
        chart,
        {"points": points(rows)},
        words,
        "Leakage by base model",
    )
