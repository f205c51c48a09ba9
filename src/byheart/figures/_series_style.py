"""Style of the series of a figure: color by method, dashes by its family, marker by its settings."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.analysis import labels
from byheart.analysis.chart import LIGHT_BACKGROUND, legible_color
from byheart.analysis.known_labels import PROMPT_BASED

if TYPE_CHECKING:
    import altair as alt

MAX_END_LABELS, MAX_END_LABEL_CHARACTERS = 9, 24
"""Maximum number of lines, and of characters of a name, for labels at the ends of lines; else a legend has the names."""
LEGEND_CHARACTERS, SYMBOL_CHARACTERS = 72, 4
"""Characters of a line of a legend, which is as wide as the panels; characters that a symbol and its space take."""
MAX_BLACK_SHARE = 0.55
"""Share of black mixed into the color of a method's last setting."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left", "triangle-right")


class SeriesStyle(NamedTuple):
    """Style of each series: the color shows the method, the dashes its family, the marker its settings.

    `longest_name` is the number of characters of the longest name.
    """

    color: alt.Scale
    dashes: alt.Scale
    shape: alt.Scale
    has_end_labels: bool
    longest_name: int


def series_style(series: labels.DisplayNames) -> SeriesStyle:
    """Return the style of each series; further settings of a method have darker colors and other markers."""
    import altair as alt

    settings = Counter(method for method, *_ in series.names)
    styled: Counter[str] = Counter()
    colors: list[str] = []
    shapes: list[str] = []
    for method, *_ in series.names:
        number = styled[method]
        brightness = 1 - MAX_BLACK_SHARE * number / max(settings[method] - 1, 1)
        color = labels.method_color(method)
        mixed = "#" + "".join(f"{round(int(color[i : i + 2], 16) * brightness):02x}" for i in (1, 3, 5))
        colors.append(legible_color(mixed, LIGHT_BACKGROUND))
        shapes.append(SHAPES[number % len(SHAPES)])
        styled[method] += 1
    names = list(series.names.values())
    dashes = [[5, 3] if method in PROMPT_BASED else [1, 0] for method, *_ in series.names]
    return SeriesStyle(
        alt.Scale(domain=names, range=colors),
        alt.Scale(domain=names, range=dashes),
        alt.Scale(domain=names, range=shapes),
        len(names) <= MAX_END_LABELS and max(map(len, names)) <= MAX_END_LABEL_CHARACTERS,
        max(map(len, names)),
    )


def series_encodings(
    style: SeriesStyle, *, dashed: bool = False, shaped: bool = False, named: bool = True, marked: bool = False
) -> dict[str, Any]:
    """Return the encodings of a series: its color, and on request its dashes and marker.

    A legend is drawn if the lines have no labels at their ends: too many or too long names, or `named` false. If another layer of the
    figure has markers (`marked`), the legend shows these and no dashes, which would cut the outlines of its markers.
    """
    import altair as alt

    columns = max(1, min(3, LEGEND_CHARACTERS // (style.longest_name + SYMBOL_CHARACTERS)))
    legend = (
        None
        if style.has_end_labels and named
        else alt.Legend(title=None, orient="bottom", columns=columns, symbolType="stroke", symbolOpacity=1)
    )
    encodings: dict[str, Any] = {"color": alt.Color("series:N", scale=style.color, legend=legend)}
    if dashed:
        encodings["strokeDash"] = alt.StrokeDash("series:N", scale=style.dashes, legend=None if marked else legend)
    if shaped:
        encodings["shape"] = alt.Shape("series:N", scale=style.shape, legend=legend)
    return encodings
