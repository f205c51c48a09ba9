"""A figure: a Vega-Lite chart with separate data, its export to picture files, and the color theme.

The data are separate from the chart for two reasons: a page with many figures of one study contains its numbers once, and
altair validates every number inside a chart, which takes seconds.

Chart parameters with the prefix `pick_` select the part of the data that is drawn: `pick_attack`, `pick_metric`,
`pick_panel` (a data set, with the base model if there are several), `pick_seed`, `pick_epoch`. A page has a switch for each
parameter; a picture shows their initial values.
"""

from __future__ import annotations

import base64
import functools
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from byheart.analysis.drawing_space import check_drawing_space
from byheart.core.errors import SettingError

if TYPE_CHECKING:
    import altair as alt

PICTURE_FORMATS = ("svg", "png", "pdf")
"""Picture file formats."""

INK, MUTED, GRID, LIGHT_BACKGROUND = "#262626", "#767676", "#e4e4e4", "#ffffff"
DARK_INK, DARK_MUTED, DARK_GRID, DARK_BACKGROUND = "#e6e8ea", "#9aa3ac", "#343a41", "#1b1f23"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
POINTS_PER_PIXEL = 0.75
"""Points in one pixel of 1/96 inch, the unit of a chart's sizes."""
PNG_DENSITY = 300
TITLE_LINE_CHARACTERS = 48
"""Maximum characters in a line of a title; fits a picture of the width of one printed column."""
MIN_CONTRAST = 3.0
"""Minimum contrast of a line with its background: WCAG 2.2, success criterion 1.4.11."""


@dataclass(frozen=True)
class Figure:
    """A chart with its data sets by name.

    `words` explains how to read it. `heading` is what it shows for every selection of a page's switches.
    """

    title: str
    chart: alt.TopLevelMixin = field(repr=False)
    data: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    words: str = ""
    heading: str = ""

    @functools.cached_property
    def spec_without_data(self) -> dict[str, Any]:
        """The chart as Vega-Lite without its data, in the theme for print."""
        spec: dict[str, Any] = self.chart.to_dict(
            validate=False
        )  # as slow as making it; the tests validate each figure
        return spec | {"config": vega_config(), "description": " ".join(f"{self.title}. {self.words}".split())}

    def spec(self, *, titled: bool = True) -> dict[str, Any]:
        """Return the chart with its data as a complete Vega-Lite specification."""
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
        """Return the figure as a picture (`svg`, `png`, `pdf`). Equal figures give equal bytes.

        Exception: the bytes of a PDF may differ in the order of its resources, which the converter does not fix.

        Raises `SettingError` for another format, and if the address space is limited (`check_drawing_space`).
        """
        import vl_convert

        check_drawing_space()
        spec = self.spec(titled=titled)
        if form == "svg":
            return vl_convert.vegalite_to_svg(spec).encode()
        if form == "png":
            return vl_convert.vegalite_to_png(spec, scale=POINTS_PER_PIXEL, ppi=PNG_DENSITY)
        if form == "pdf":
            return vl_convert.svg_to_pdf(_svg_in_points(vl_convert.vegalite_to_svg(spec)))
        raise SettingError(f"picture format {form!r}: is unknown. Choices are {', '.join(PICTURE_FORMATS)}.")

    def _repr_mimebundle_(self, *_: object, **__: object) -> dict[str, Any]:
        """Show the figure in a notebook: as Vega-Lite, or as a picture where Vega-Lite is not supported."""
        return {
            "application/vnd.vegalite.v6+json": self.spec(),
            "image/png": base64.b64encode(self.picture("png")).decode(),
        }


def _svg_in_points(svg: str) -> str:
    """Return an SVG with its size in points: the PDF converter treats pixels as points."""
    return re.sub(r'\b(width|height)="([\d.]+)"', lambda m: f'{m[1]}="{float(m[2]) * POINTS_PER_PIXEL}"', svg, count=2)


def vega_config(*, dark: bool = False, font_size: int = 10) -> dict[str, Any]:
    """Return the theme of every figure, light or dark; `font_size` is in pixels."""
    ink, muted, grid, background = (
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
            "gridColor": grid,
            "domainColor": muted,
            "tickColor": muted,
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
        "rule": {"color": muted},
        "style": {
            "level": {"stroke": muted, "color": muted},
            "ink": {"fill": ink, "color": ink},
            "halo": {"fill": background, "stroke": background, "strokeWidth": 3, "strokeJoin": "round"},
        },
        "aria": True,
    }


def legible_color(color: str, background: str) -> str:
    """Return the color, mixed with as little black or white as gives a line of it MIN_CONTRAST with the background."""
    target = 255.0 if _luminance(_rgb(background)) < 0.2 else 0.0  # noqa: PLR2004 - dark or light
    original = mixed = _rgb(color)
    for percent in range(0, 101, 4):
        mixed = [float(round((1 - percent / 100) * v + percent / 100 * target)) for v in original]
        if _contrast(mixed, _rgb(background)) >= MIN_CONTRAST:
            break
    return "#" + "".join(f"{int(v):02x}" for v in mixed)


def _rgb(color: str) -> list[float]:
    return [float(int(color[i : i + 2], 16)) for i in (1, 3, 5)]


def _luminance(rgb: Sequence[float]) -> float:
    shares = [v / 255 for v in rgb]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares]  # noqa: PLR2004 - from sRGB
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first: Sequence[float], second: Sequence[float]) -> float:
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)
