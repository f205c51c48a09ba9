"""Leakage by the size of the base model: Table 3 of Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258, as a figure.

After Nicholas Carlini, Daphne Ippolito, Matthew Jagielski, Katherine Lee, Florian Tramer, Chiyuan Zhang, Quantifying
Memorization Across Neural Language Models, ICLR 2023, arXiv 2202.07646, Figure 1a. Departs from both: adds intervals.
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
    small_multiples,
)
from byheart.figures._series_style import series_encodings, series_style


def scale_study(
    rows: Sequence[Row], *, attack: str = "loss", metric: str = "auc", epoch: Annotated[int, Ge(0)] | None = None
) -> Figure:
    """Leakage under an attack by base model, a line for each method, a panel for each data set; a higher value means more leakage.

    Models are sorted by size if rows of full fine-tuning give it, else by name; `epoch` None is the last epoch. Raises
    `DataError` for fewer than two base models.
    """
    attack_name, measure = attack_and_metric_names(rows, attack, metric)
    attack_rows = [r for r in leakage_rows(rows) if (r.attack, r.metric) == (attack, metric)]
    if len({r.base for r in attack_rows}) < 2:  # noqa: PLR2004 - a comparison needs two models
        raise DataError("figure scale_study: the rows have only one base model. Add another base model to the study.")
    import altair as alt

    style = series_style(chart_names(attack_rows).series)
    base = alt.Chart()
    bases = [n for n in labels.bases(rows).names.values() if n in set(map(labels.bases(rows), attack_rows))]
    across = alt.X("base:N", sort=bases, title="base model", axis=alt.Axis(labelAngle=-20, labelLimit=120))
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    bars = base.mark_rule(opacity=0.45, aria=False).encode(
        x=across, y="low:Q", y2="high:Q", **series_encodings(style, named=False)
    )
    line = base.mark_line(strokeWidth=1.6, aria=False).encode(
        x=across, y=value, **series_encodings(style, named=False, dashed=True, marked=True)
    )
    dots = base.mark_point(filled=True, opacity=1, size=40).encode(
        x=across, y=value, tooltip=point_tooltips(), **series_encodings(style, named=False, shaped=True)
    )
    chart = small_multiples(
        [*chance_level_layers(base), bars, line, dots],
        list(labels.datasets(rows).split(attack_rows)),
        [filter_transform(LEAKAGE_FILTER, SEED_FILTER, "datum.epoch === min(pick_epoch, datum.last)")],
        pick_parameters(
            attack=attack_name,
            metric=measure,
            seed=ALL_SEEDS,
            epoch=max(r.epoch or 0 for r in attack_rows) if epoch is None else epoch,
        ),
        by="data",
        marked=True,
    )
    words = f"Bars: {row_values.interval_description(attack_rows)}; dotted line: chance."
    return Figure(
        f"{measure} of the attack {attack_name} by base model",
        chart,
        {"points": points(rows)},
        words,
        "Leakage by base model",
    )
