"""Drift by layer: how far each fine-tuning method moves the model's internal states away from the base model.

The metric `drift` defines each number. A panel shows one measure; the next-token distribution has no layer and is in the table of the
same name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge

from byheart.analysis import labels, row_values
from byheart.analysis.chart import Figure
from byheart.analysis.drift_rows import CLASSES, MEASURES, drift_rows
from byheart.core.errors import DataError
from byheart.core.types import Row
from byheart.figures._chart_parts import PANEL_FILTER, filter_transform, pick_parameters, small_multiples
from byheart.figures._series_style import series_encodings, series_style


def drift(
    rows: Sequence[Row],
    *,
    of: Literal["members", "nonmembers", "validation"] = "members",
    epoch: Annotated[int, Ge(0)] | None = None,
) -> Figure:
    """Distance of each layer from the base model, a line for each method, a panel for each measure; higher is farther.

    `epoch` None is the last epoch, 0 the initialized method. Raises `DataError` without rows of drift by layer.
    """
    measured = [d for d in drift_rows(rows, epoch) if d.of == of and d.layer is not None]
    if not measured:
        raise DataError("figure drift: no drift by layer after this epoch. Add the metric drift to the study.")
    variants, panels = labels.variants(rows), labels.panels(rows)
    by_point: defaultdict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
    for d in measured:
        by_point[panels(d.row), d.measure, variants(d.row), d.layer or 0].append(d.row)
    several = len({panel for panel, *_ in by_point}) > 1
    points = [
        {
            "panel": panel,
            "facet": f"{panel}: {MEASURES[measure]}" if several else MEASURES[measure],
            "series": series,
            "layer": layer,
            **_ends(seeds),
        }
        for panel, measure, series, layer, seeds in sorted((*key, seeds) for key, seeds in by_point.items())
    ]
    order = list(MEASURES)
    facets = {(panels(d.row), order.index(d.measure)) for d in measured}
    names = [f"{panel}: {MEASURES[order[i]]}" if several else MEASURES[order[i]] for panel, i in sorted(facets)]
    words = f"On {CLASSES[of]}. Layer 0: the input of the first layer. Bands: {row_values.interval_description(rows)}."
    title = "Drift from the base model by layer"
    return Figure(title, _chart(rows, names), {"drift": points}, words, title)


def _ends(seeds: Sequence[Row]) -> dict[str, float | None]:
    estimate = row_values.pooled_estimate(seeds)
    assert estimate is not None, "a point has rows"  # noqa: S101 - for the type checker
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _chart(rows: Sequence[Row], facets: Sequence[str]) -> Any:
    import altair as alt

    style = series_style(labels.variants(rows))
    base = alt.Chart()
    x = alt.X("layer:Q", title="layer", axis=alt.Axis(format="d", tickMinStep=1))
    tooltips = [
        alt.Tooltip("series:N", title="method"),
        alt.Tooltip("facet:N", title="measure"),
        alt.Tooltip("layer:Q", title="layer"),
        *(alt.Tooltip(f"{f}:Q", title=f, format=".4~r") for f in ("value", "low", "high")),
    ]
    unnamed = series_encodings(style, named=False)
    band = base.mark_area(opacity=0.15, aria=False).encode(x=x, y=alt.Y("low:Q", title=None), y2="high:Q", **unnamed)
    line = base.mark_line(strokeWidth=1.6, aria=False).encode(
        x=x, y="value:Q", **series_encodings(style, named=False, dashed=True)
    )
    dots = base.mark_point(filled=True, opacity=1, size=16).encode(x=x, y="value:Q", tooltip=tooltips, **unnamed)
    return small_multiples(
        [band, line, dots],
        facets,
        [filter_transform(PANEL_FILTER)],
        pick_parameters(panel=""),
        by="facet",
        data="drift",
        grows=False,
    ).resolve_scale(y="independent")
