"""What figures share: parameters that pick, colours of methods, levels to compare with, names at the ends of lines.

altair is imported inside functions: the shelf is listed without it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.analysis import labels
from byheart.analysis.chart import LIGHT_BACKGROUND, legible_color
from byheart.core.types import Row

if TYPE_CHECKING:
    import altair as alt

PANEL_HEIGHT, PANEL_WIDTH, SINGLE_PANEL_WIDTH = 190, 230, 250
"""Pixels (1/96 inch) of a panel: its height, its width beside another one, its width alone in one column."""
LABEL_GAP = 11
"""Pixels between two names that stand above one another."""
MOST_TICKS = 8
MAX_END_LABELS, MAX_END_LABEL_CHARACTERS = 9, 24
"""How many lines, and of how many letters, are named at their ends; else the names stand in a legend."""
MAX_BLACK_SHARE = 0.55
"""How much black is mixed into the last of a method's settings."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left", "triangle-right")
SEED_FILTER = "datum.seed === pick_seed"
PANEL_FILTER = "pick_panel === '' || datum.panel === pick_panel"
EPOCH_FILTER = "datum.epoch === min(pick_epoch, datum.last)"
LEAKAGE_FILTER = "datum.attack === pick_attack && datum.metric === pick_metric"


class SeriesStyle(NamedTuple):
    """How each series is drawn: the colour tells the method, the dashes its family, the marker its settings."""

    color: alt.Scale
    dashes: alt.Scale
    shape: alt.Scale
    has_end_labels: bool


def series_style(series: labels.DisplayNames) -> SeriesStyle:
    """Return how each series is drawn; a method's further settings are darker and change the marker."""
    import altair as alt

    settings = Counter(method for method, *_ in series.names)
    seen: Counter[str] = Counter()
    colours: list[str] = []
    shapes: list[str] = []
    for method, *_ in series.names:
        nth = seen[method]
        darker = 1 - MAX_BLACK_SHARE * nth / max(settings[method] - 1, 1)
        own = labels.method_color(method)
        mixed = "#" + "".join(f"{round(int(own[i : i + 2], 16) * darker):02x}" for i in (1, 3, 5))
        colours.append(legible_color(mixed, LIGHT_BACKGROUND))
        shapes.append(SHAPES[nth % len(SHAPES)])
        seen[method] += 1
    names = list(series.names.values())
    dashes = [[5, 3] if method in labels.PROMPT_BASED else [1, 0] for method, *_ in series.names]
    return SeriesStyle(
        alt.Scale(domain=names, range=colours),
        alt.Scale(domain=names, range=dashes),
        alt.Scale(domain=names, range=shapes),
        len(names) <= MAX_END_LABELS and max(map(len, names)) <= MAX_END_LABEL_CHARACTERS,
    )


def pick_parameters(**chosen: object) -> list[alt.Parameter]:
    """Return the parameters by which a figure picks what it draws: attack="Loss" is `pick_attack`."""
    import altair as alt

    return [alt.param(name=f"pick_{name}", value=value) for name, value in chosen.items()]


def series_encodings(
    style: SeriesStyle, *, dashed: bool = False, shaped: bool = False, named: bool = True
) -> dict[str, Any]:
    """Return the encodings of a series: its colour, and where asked its dashes and marker.

    The legend stands only where no names stand at the lines, for want of room or of ends (`named` is false).
    """
    import altair as alt

    legend = (
        None
        if style.has_end_labels and named
        else alt.Legend(title=None, orient="bottom", columns=3, symbolType="stroke", symbolOpacity=1)
    )
    found: dict[str, Any] = {"color": alt.Color("series:N", scale=style.color, legend=legend)}
    if dashed:
        found["strokeDash"] = alt.StrokeDash("series:N", scale=style.dashes, legend=legend)
    if shaped:
        found["shape"] = alt.Shape("series:N", scale=style.shape, legend=legend)
    return found


def small_multiples(  # noqa: PLR0913 - settings come in by keyword
    layers: Sequence[alt.Chart],
    panels: Sequence[str],
    transforms: Sequence[Any],
    parameters: list[alt.Parameter],
    *,
    by: str = "panel",
    data: str = "points",
    size: tuple[int, int] = (PANEL_WIDTH, PANEL_HEIGHT),
    columns: int = 2,
    grows: bool = True,
) -> Any:
    """Return the layers as small multiples, one for each panel that the transforms leave of the data.

    The parameters `tall` and `gap` are the height that transforms reckon with, and that of a name. A page, which has more
    room, may raise them and the height itself, unless the figure never `grows`.
    """
    import altair as alt

    alone = len(panels) == 1 and columns > 1
    width, height = (round(size[0] * SINGLE_PANEL_WIDTH / PANEL_WIDTH), size[1]) if alone else size
    whole: Any = alt.layer(*layers).properties(width=width, height=height)
    whole = whole.facet(
        facet=alt.Facet(f"{by}:N", title=None, sort=list(panels), header=alt.Header(labels=len(panels) > 1)),
        columns=min(len(panels), columns),
        data=alt.NamedData(name=data),
        spacing=20,
    )
    whole.transform = list(transforms)
    grown = [alt.param(name="tall", value=height), alt.param(name="gap", value=LABEL_GAP)] if grows else []
    return whole.add_params(*parameters, *grown)


def epoch_axis(rows: Sequence[Row]) -> alt.X:
    """Return the encoding of the epoch across, its scale numbered at whole epochs."""
    import altair as alt

    last = max(r.epoch or 0 for r in rows)
    step = math.ceil(max(last, 1) / MOST_TICKS)
    axis = alt.Axis(values=list(range(0, last + 1, step)), format="d")
    return alt.X("epoch:Q", title="epoch", axis=axis, scale=alt.Scale(nice=False))


def filter_transform(*conditions: str) -> Any:
    """Return the transform that keeps what fulfils all conditions."""
    import altair as alt

    return alt.FilterTransform(filter=" && ".join(f"({c})" for c in conditions))


def height_transforms(*, log: bool = False, independent_scales: bool = False) -> list[Any]:
    """Return transforms that give every point its height in the picture, as the scale of y will draw it.

    `apart` says that every panel has its scale. The scale itself must be neither nice nor begin at zero.
    """
    import altair as alt

    def seen(value: str) -> str:
        return f"log({value})" if log else value

    known = "isValid(datum.{0}) ? datum.{0} : datum.value"
    least = [known.format("low"), "isValid(datum.chance) ? datum.chance : datum.value"]
    most = [known.format("high"), least[1]]
    over = {"groupby": ["panel"]} if independent_scales else {}
    rise = f"({seen('datum.value')} - {seen('datum.bottom')}) / max(1e-9, {seen('datum.top')} - {seen('datum.bottom')})"
    return [
        alt.CalculateTransform(calculate=f"min({least[0]}, {least[1]})", **{"as": "least"}),
        alt.CalculateTransform(calculate=f"max({most[0]}, {most[1]})", **{"as": "most"}),
        alt.JoinAggregateTransform(
            joinaggregate=[
                alt.JoinAggregateFieldDef(op="min", field="least", **{"as": "bottom"}),
                alt.JoinAggregateFieldDef(op="max", field="most", **{"as": "top"}),
            ],
            **over,
        ),
        alt.CalculateTransform(calculate=f"tall * (1 - {rise})", **{"as": "height"}),
    ]


def end_label_layers(base: alt.Chart, style: SeriesStyle, x: str, *, aside: bool) -> list[alt.Chart]:
    """Return layers that name each line at its last point; none where the names are in a legend.

    Names keep the order of the points and stand apart: of all ways to move them, this makes the farthest move smallest
    (the isotonic regression in the maximum norm is midway between two running extremes). `aside` sets them right of
    the picture with a stroke to the point, else they stand beside the point.
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
        filter_transform("datum.epoch === datum.last"),
        window("row_number", "", "nth", [None, None]),
        alt.CalculateTransform(calculate="datum.height - gap * datum.nth", **{"as": "slack"}),
        window("max", "slack", "pushed", [None, 0]),
        window("min", "slack", "pulled", [0, None]),
        alt.CalculateTransform(calculate="gap * datum.nth + (datum.pushed + datum.pulled) / 2", **{"as": "place"}),
    ]
    place = alt.Y("place:Q", scale=None, axis=None)
    if not aside:
        beside = {"x": x, "y": place, "text": "series:N"}
        halo = placed.mark_text(align="left", dx=8, style="halo", aria=False).encode(**beside)
        return [halo, placed.mark_text(align="left", dx=8, style="ink").encode(**beside)]
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
    """Return the dotted level of guessing, where the metric has one."""
    import altair as alt

    rule = base.transform_filter("isValid(datum.chance)").mark_rule(
        strokeDash=[1, 3], style="level", strokeWidth=1.2, aria=False
    )
    return [rule.encode(y=alt.Y("mean(chance):Q"))]


def point_tooltips(*, perplexity: bool = False) -> list[alt.Tooltip]:
    """Return what is said of a point under the pointer: the exact number with everything that it belongs to."""
    import altair as alt

    shown = {"series:N": "method", "panel:N": "data", "epoch:Q": "epoch", "attack:N": "attack", "metric:N": "metric"}
    exact = {"value:Q": "value", "low:Q": "from", "high:Q": "to"}
    counts = {"members:Q": "members", "nonmembers:Q": "non-members"}
    useful = {"perplexity:Q": "perplexity"} if perplexity else {}
    return [
        *(alt.Tooltip(f, title=t) for f, t in shown.items()),
        *(alt.Tooltip(f, title=t, format=".5~r") for f, t in (exact | useful).items()),
        *(alt.Tooltip(f, title=t, format=",") for f, t in counts.items()),
    ]
