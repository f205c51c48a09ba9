"""Shared parts of figures: selection parameters, chance levels, labels at the ends of lines.

altair is imported inside functions, so that the shelf can be listed without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from byheart.core.types import Row
from byheart.figures._series_style import SeriesStyle, series_encodings

if TYPE_CHECKING:
    import altair as alt

PANEL_HEIGHT, PANEL_WIDTH, SINGLE_PANEL_WIDTH = 190, 230, 250
"""Pixels (1/96 inch) of a panel: height, width beside another panel, width alone in one column."""
LABEL_GAP = 11
"""Vertical distance (pixels) between two labels."""
MOST_TICKS = 8
SEED_FILTER = "datum.seed === pick_seed"
PANEL_FILTER = "pick_panel === '' || datum.panel === pick_panel"
PICKED_LEAKAGE_FILTER = "datum.attack === pick_attack && datum.metric === pick_metric"
TRAINED_FILTER = "!datum.initialized"
LEAKAGE_FILTER = f"{PICKED_LEAKAGE_FILTER} && {TRAINED_FILTER}"


def pick_parameters(**chosen: object) -> list[alt.Parameter]:
    """Return the selection parameters of a figure: attack="Loss" is the parameter `pick_attack`."""
    import altair as alt

    return [alt.param(name=f"pick_{name}", value=value) for name, value in chosen.items()]


def small_multiples(  # noqa: PLR0913 - settings are keyword-only
    layers: Sequence[alt.Chart | alt.LayerChart],
    panels: Sequence[str],
    transforms: Sequence[Any],
    parameters: list[alt.Parameter],
    *,
    by: str = "panel",
    data: str = "points",
    size: tuple[int, int] = (PANEL_WIDTH, PANEL_HEIGHT),
    columns: int = 2,
    grows: bool = True,
    marked: bool = False,
) -> Any:
    """Return the layers as small multiples, one for each panel of the transformed data.

    The parameters `tall` and `gap` are the panel height and the label distance that transforms use. The report page has
    more room and may raise them and the height, unless `grows` is false. `marked` as in `series_encodings`.
    """
    import altair as alt

    is_single = len(panels) == 1 and columns > 1
    width, height = (round(size[0] * SINGLE_PANEL_WIDTH / PANEL_WIDTH), size[1]) if is_single else size
    layered: Any = alt.layer(*layers).properties(width=width, height=height)
    chart = layered.facet(
        facet=alt.Facet(f"{by}:N", title=None, sort=list(panels), header=alt.Header(labels=len(panels) > 1)),
        columns=min(len(panels), columns),
        data=alt.NamedData(name=data),
        spacing=20,
    )
    chart.transform = list(transforms)
    if marked:  # a legend that is left out would still give its dashes to the common legend
        chart.resolve = alt.Resolve(legend=alt.LegendResolveMap(strokeDash="independent"))
    growth = [alt.param(name="tall", value=height), alt.param(name="gap", value=LABEL_GAP)] if grows else []
    # Not `add_params`, which copies all layers several times.
    chart.params = [
        *([] if chart.params is alt.Undefined else chart.params),
        *(p.param for p in (*parameters, *growth)),
    ]
    return chart


def epoch_axis(rows: Sequence[Row]) -> alt.X:
    """Return the x encoding of the epoch, with ticks at whole epochs."""
    import altair as alt

    last = math.ceil(max(r.epoch or 0 for r in rows))
    step = math.ceil(max(last, 1) / MOST_TICKS)
    axis = alt.Axis(values=list(range(0, last + 1, step)), format="d")
    return alt.X("epoch:Q", title="epoch", axis=axis, scale=alt.Scale(nice=False))


def epoch_path_layers(
    base: alt.Chart, style: SeriesStyle, epoch: alt.X, value: alt.Y, low: alt.Y
) -> list[alt.Chart | alt.LayerChart]:
    """Return the layers of each series by epoch: the interval's band, the line, its label at the end, and a point per epoch."""
    band = base.mark_area(opacity=0.15, aria=False).encode(x=epoch, y=low, y2="high:Q", **series_encodings(style))
    line = base.mark_line(strokeWidth=1.8, aria=False).encode(
        x=epoch, y=value, **series_encodings(style, dashed=True, marked=True)
    )
    dots = base.mark_point(filled=True, opacity=1, size=34).encode(
        x=epoch, y=value, tooltip=point_tooltips(), **series_encodings(style, shaped=True)
    )
    return [band, line, *end_label_layers(base, style, "epoch:Q", aside=True), dots]


def filter_transform(*conditions: str) -> Any:
    """Return the transform that keeps the data that fulfill all conditions."""
    import altair as alt

    return alt.FilterTransform(filter=" && ".join(f"({c})" for c in conditions))


def height_transforms(*, log: bool = False, independent_scales: bool = False) -> list[Any]:
    """Return transforms that compute each point's height (pixels) as the y scale draws it.

    `independent_scales`: every panel has its own y scale. The scale must have `nice` and `zero` off.
    """
    import altair as alt

    def scaled(value: str) -> str:
        return f"log({value})" if log else value

    end = "isValid(datum.{0}) ? datum.{0} : datum.value"
    lowest = [end.format("low"), "isValid(datum.chance) ? datum.chance : datum.value"]
    highest = [end.format("high"), lowest[1]]
    grouping = {"groupby": ["panel"]} if independent_scales else {}
    rise = (
        f"({scaled('datum.value')} - {scaled('datum.bottom')})"
        f" / max(1e-9, {scaled('datum.top')} - {scaled('datum.bottom')})"
    )
    return [
        alt.CalculateTransform(calculate=f"min({lowest[0]}, {lowest[1]})", **{"as": "least"}),
        alt.CalculateTransform(calculate=f"max({highest[0]}, {highest[1]})", **{"as": "most"}),
        alt.JoinAggregateTransform(
            joinaggregate=[
                alt.JoinAggregateFieldDef(op="min", field="least", **{"as": "bottom"}),
                alt.JoinAggregateFieldDef(op="max", field="most", **{"as": "top"}),
            ],
            **grouping,
        ),
        alt.CalculateTransform(calculate=f"tall * (1 - {rise})", **{"as": "height"}),
    ]


def end_label_layers(
    base: alt.Chart,
    style: SeriesStyle,
    x: str,
    *,
    aside: bool,
    at: str = "datum.epoch === datum.last",
    rise: int = 0,
) -> list[alt.Chart]:
    """Return layers that label each line at one point (`at`: its last); no layers if a legend has the names.

    Labels keep the order of the points and do not overlap. The largest displacement of a label is minimal: isotonic
    regression in the maximum norm is midway between two running extremes. With `aside`, labels are right of the panel
    with a line to the point; else they are beside the point, and `rise` pixels higher.
    """
    import altair as alt

    if not style.has_end_labels:
        return []
    order: Mapping[str, Any] = {"sort": [alt.SortField("height", order="ascending")], "groupby": ["panel"]}

    def window(op: str, source: str, name: str, frame: list[int | None]) -> Any:
        field: Any = {"op": op, "as": name, **({"field": source} if source else {})}
        return alt.WindowTransform(window=[alt.WindowFieldDef(**field)], frame=frame, **order)

    placed: Any = base.copy()
    placed.transform = [
        filter_transform(at),
        window("row_number", "", "nth", [None, None]),
        alt.CalculateTransform(calculate="datum.height - gap * datum.nth", **{"as": "slack"}),
        window("max", "slack", "pushed", [None, 0]),
        window("min", "slack", "pulled", [0, None]),
        alt.CalculateTransform(calculate="gap * datum.nth + (datum.pushed + datum.pulled) / 2", **{"as": "place"}),
    ]
    place = alt.Y("place:Q", scale=None, axis=None)
    if not aside:
        beside = {"x": x, "y": place, "text": "series:N"}
        halo = placed.mark_text(align="left", dx=8, dy=-rise, style="halo", aria=False).encode(**beside)
        return [halo, placed.mark_text(align="left", dx=8, dy=-rise, style="ink").encode(**beside)]
    stroke = placed.mark_rule(strokeWidth=0.8, x2Offset=9, aria=False).encode(
        x=x,
        x2=alt.value("width"),
        y=alt.Y("height:Q", scale=None, axis=None),
        y2=alt.Y2("place:Q"),
        color=alt.Color("series:N", scale=style.color, legend=None),
    )
    text = placed.mark_text(align="left", dx=11, style="ink").encode(x=alt.value("width"), y=place, text="series:N")
    return [stroke, text]


def chance_level_layers(base: alt.Chart) -> list[alt.Chart]:
    """Return the dotted line of the chance level, if the metric has one."""
    import altair as alt

    rule = base.transform_filter("isValid(datum.chance)").mark_rule(
        strokeDash=[1, 3], style="level", strokeWidth=1.2, aria=False
    )
    return [rule.encode(y=alt.Y("mean(chance):Q"))]


def point_tooltips(*, perplexity: bool = False) -> list[alt.Tooltip]:
    """Return the tooltips of a point: the exact number with all its labels."""
    import altair as alt

    names = {"series:N": "method", "panel:N": "data", "epoch:Q": "epoch", "attack:N": "attack", "metric:N": "metric"}
    exact = {"value:Q": "value", "low:Q": "interval low", "high:Q": "interval high"}
    counts = {"members:Q": "members", "nonmembers:Q": "non-members"}
    utility = {"perplexity:Q": "perplexity"} if perplexity else {}
    return [
        *(alt.Tooltip(f, title=t) for f, t in names.items()),
        *(alt.Tooltip(f, title=t, format=".5~r") for f, t in (exact | utility).items()),
        *(alt.Tooltip(f, title=t, format=",") for f, t in counts.items()),
    ]
