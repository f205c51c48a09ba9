"""What a figure is: a Vega-Lite chart with its data beside it, and how it becomes a picture in a file.

The data stand beside the chart, by the names that it reads them under, for two reasons: a page that holds many figures
of one study holds its numbers once, and altair checks every number of a chart that carries them, which takes seconds.

A chart's parameters whose names begin with `pick_` say which part of the data is drawn: `pick_attack`, `pick_metric`,
`pick_panel` (a data set, with the base model where there are several), `pick_seed`, `pick_epoch`. A page has a switch
for each; a picture shows what they say from the beginning.
"""

from __future__ import annotations

import base64
import functools
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from byheart.core.errors import SettingError

if TYPE_CHECKING:
    import altair as alt

PICTURE_FORMATS = ("svg", "png", "pdf")
"""The formats of a picture in a file."""

INK, MUTED, GRID, LIGHT_BACKGROUND = "#262626", "#767676", "#e4e4e4", "#ffffff"
DARK_INK, DARK_MUTED, DARK_GRID, DARK_BACKGROUND = "#e6e8ea", "#9aa3ac", "#343a41", "#1b1f23"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
POINTS_PER_PIXEL = 0.75
"""Points of print in one pixel of 1/96 inch, which is what a chart's sizes are given in."""
PNG_DENSITY = 300
TITLE_LINE_CHARACTERS = 48
"""Letters of a line of a title: what a picture of one column of print is wide enough for."""
MIN_CONTRAST = 3.0
"""Least contrast of a line with its ground: WCAG 2.2, success criterion 1.4.11."""


@dataclass(frozen=True)
class Figure:
    """A chart with its data, by the name that the chart reads them under.

    `words` say how it is to be read, `heading` what it shows whatever is picked: a page's switches change the rest.
    """

    title: str
    chart: alt.TopLevelMixin = field(repr=False)
    data: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    words: str = ""
    heading: str = ""

    @functools.cached_property
    def spec_without_data(self) -> dict[str, Any]:
        """The chart as Vega-Lite without its data, in the look of print."""
        spec: dict[str, Any] = self.chart.to_dict()
        return spec | {"config": vega_config(), "description": " ".join(f"{self.title}. {self.words}".split())}

    def spec(self, *, titled: bool = True) -> dict[str, Any]:
        """Return the whole as Vega-Lite, as any of its tools reads it."""
        title = {
            "text": textwrap.wrap(self.title, TITLE_LINE_CHARACTERS),
            "anchor": "start",
            "frame": "group",
            "fontSize": 11,
            "offset": 8,
        }
        data = {"datasets": {**self.spec_without_data.get("datasets", {}), **self.data}}
        return self.spec_without_data | data | ({"title": title} if titled else {})

    def picture(self, form: str, *, titled: bool = True) -> bytes:
        """Return the figure as a picture (`svg`, `png`, `pdf`). Equal figures make equal pictures.

        A PDF's bytes may differ in the order of its resources, which the converter does not settle.

        Raises `SettingError` for another form.
        """
        import vl_convert

        spec = self.spec(titled=titled)
        if form == "svg":
            return vl_convert.vegalite_to_svg(spec).encode()
        if form == "png":
            return vl_convert.vegalite_to_png(spec, scale=POINTS_PER_PIXEL, ppi=PNG_DENSITY)
        if form == "pdf":
            return vl_convert.svg_to_pdf(_svg_in_points(vl_convert.vegalite_to_svg(spec)))
        raise SettingError(f"picture {form!r}: choices are {', '.join(PICTURE_FORMATS)}")

    def _repr_mimebundle_(self, *_: object, **__: object) -> dict[str, Any]:
        """Show the figure in a notebook, which draws Vega-Lite by itself, or else as a picture."""
        return {
            "application/vnd.vegalite.v6+json": self.spec(),
            "image/png": base64.b64encode(self.picture("png")).decode(),
        }


def _svg_in_points(svg: str) -> str:
    """Return an SVG at its size in print: the converter takes each of its pixels for a point."""
    return re.sub(r'\b(width|height)="([\d.]+)"', lambda m: f'{m[1]}="{float(m[2]) * POINTS_PER_PIXEL}"', svg, count=2)


def vega_config(*, dark: bool = False, font_size: int = 10) -> dict[str, Any]:
    """Return the look of every figure, for light paper or for a dark screen; `letters` are their height in pixels."""
    ink, faint, lines, ground = (
        (DARK_INK, DARK_MUTED, DARK_GRID, DARK_BACKGROUND) if dark else (INK, MUTED, GRID, LIGHT_BACKGROUND)
    )
    text = {
        "labelColor": ink,
        "titleColor": ink,
        "labelFontSize": font_size,
        "titleFontSize": font_size,
        "titleFontWeight": "normal",
    }
    return {
        "background": "white",
        "font": FONT,
        "axis": {
            **text,
            "gridColor": lines,
            "domainColor": faint,
            "tickColor": faint,
            "gridWidth": 0.7,
            "labelLimit": 170,
        },
        "axisX": {"grid": False},
        "header": {
            "labelColor": ink,
            "labelFontSize": font_size,
            "labelFontWeight": "bold",
            "labelAnchor": "start",
            "title": None,
        },
        "legend": {**text, "labelLimit": 260, "symbolStrokeWidth": 2},
        "title": {"color": ink},
        "view": {"stroke": None},
        "text": {"color": ink, "fontSize": font_size},
        "rule": {"color": faint},
        "style": {
            "level": {"stroke": faint, "color": faint},
            "ink": {"fill": ink, "color": ink},
            "halo": {"fill": ground, "stroke": ground, "strokeWidth": 3, "strokeJoin": "round"},
        },
        "aria": True,
    }


def legible_color(colour: str, ground: str) -> str:
    """Return the colour, mixed with black or white as little as makes a line of it seen on its ground."""
    towards = 255.0 if _luminance(_rgb(ground)) < 0.2 else 0.0  # noqa: PLR2004 - dark or light
    own = mixed = _rgb(colour)
    for share in range(0, 101, 4):
        mixed = [float(round((1 - share / 100) * v + share / 100 * towards)) for v in own]
        if _contrast(mixed, _rgb(ground)) >= MIN_CONTRAST:
            break
    return "#" + "".join(f"{int(v):02x}" for v in mixed)


def _rgb(colour: str) -> list[float]:
    return [float(int(colour[i : i + 2], 16)) for i in (1, 3, 5)]


def _luminance(rgb: Sequence[float]) -> float:
    shares = [v / 255 for v in rgb]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares]  # noqa: PLR2004 - sRGB's own
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: Sequence[float], other: Sequence[float]) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)
