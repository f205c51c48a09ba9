"""Data of the page's script: figures as Vega-Lite, their numbers stored once, the records, and the switch options.

The data are one JSON document, deflated and base64-encoded: nothing in it is markup, and a study's thousands of numbers
take a tenth of the space.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from byheart.analysis import labels
from byheart.analysis.chart import DARK_BACKGROUND, Figure, legible_color, vega_config
from byheart.core.types import Row

PICK_PREFIX = "pick_"
SCREEN_FONT_SIZE = 12
"""Font size (pixels) of the page's charts; printed figures use a smaller one."""


def script() -> str:
    """Return the page's JavaScript."""
    return resources.files("byheart.report").joinpath("templates", "report.js").read_text(encoding="utf-8")


def style() -> str:
    """Return the page's CSS."""
    return resources.files("byheart.report").joinpath("templates", "report.css").read_text(encoding="utf-8")


def csp_hash(source: str) -> str:
    """Return a script's SHA-256 hash in the format of a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def compress_json(content: Mapping[str, Any]) -> str:
    """Return a JSON document, deflated and base64-encoded; floats are rounded to six significant digits."""
    plain = json.dumps(_round_floats(content), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(plain.encode(), 9)).decode()


def _round_floats(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: _round_floats(v) for k, v in value.items()}
    return [_round_floats(v) for v in value] if isinstance(value, list | tuple) else value


def page_content(
    rows: Sequence[Row],
    switch_options: Mapping[str, Sequence[str]],
    figures: Mapping[str, Figure],
    figure_settings: Mapping[str, Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the data of the page's script.

    `switch_options` come from `switches`. `figure_settings` are each figure's settings in the study file, which no
    switch changes.
    """
    specs = {name: figure.spec_without_data for name, figure in figures.items()}
    panels = panel_labels(rows)
    return {
        "figures": {n: {k: v for k, v in spec.items() if k not in {"config", "datasets"}} for n, spec in specs.items()},
        "reads": {name: list(figure.data) for name, figure in figures.items()},
        "words": {
            name: f"{figure.heading or figure.title}. {figure.words}".strip() for name, figure in figures.items()
        },
        "pinned": {
            n: {w: v for w, v in _pick_parameters(spec).items() if w in figure_settings.get(n, {})}
            for n, spec in specs.items()
        },
        "data": {name: data for figure in figures.values() for name, data in figure.data.items()},
        "config": {
            n: {**vega_config(dark=n == "dark", font_size=SCREEN_FONT_SIZE), "background": "transparent"}
            for n in ("light", "dark")
        },
        "colours": _dark_colors(specs.values()),  # prose: ignore - key of the page's JSON
        "records": records,
        "panels": panels,
        "seeds": switch_options.get("seed", []),
        "attacks": switch_options["attack"],
        "metrics": switch_options["metric"],
        "picked": {
            **_initial_picks(switch_options, specs.values()),
            "panel": panels[0]["name"],
            "epoch": max((r.epoch or 0 for r in rows), default=0),
        },
    }


def observed_epochs(rows: Sequence[Row]) -> list[float]:
    """Return the epochs of rows in order if they are not all whole epochs up to the last; else []: a slider reaches these."""
    epochs = sorted({r.epoch for r in rows if r.epoch is not None and (r.attack or r.metric == "perplexity")})
    return [] if epochs == list(range(len(epochs))) else epochs


def _pick_parameters(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        p["name"].removeprefix(PICK_PREFIX): p["value"]
        for p in spec.get("params", [])
        if p["name"].startswith(PICK_PREFIX)
    }


def panel_labels(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return the name, data set and base model of each panel."""
    panels, datasets, bases = labels.panels(rows), labels.datasets(rows), labels.bases(rows)
    return [
        {"name": name, "data": datasets(panel_rows[0]), "base": bases(panel_rows[0])}
        for name, panel_rows in panels.split(rows).items()
    ]


def _initial_picks(switch_options: Mapping[str, Sequence[str]], specs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the initial positions of the switches: those of the figures, else the first option."""
    picks: dict[str, Any] = {}
    for spec in specs:
        picks = {**_pick_parameters(spec), **picks}
    first = {name: options[0] for name, options in switch_options.items() if options}
    return {"attack": first.get("attack", ""), "metric": first.get("metric", ""), "seed": "", **picks}


def switches(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the options of each switch in reading order; seeds only if there are several."""
    from byheart.analysis.chart_points import chart_names

    names, panels = chart_names(rows), panel_labels(rows)
    seeds = sorted({r.seed for r in rows})
    return {
        "attack": list(names.attacks.names.values()),
        "metric": list(names.metrics.values()),
        "data": list(dict.fromkeys(p["data"] for p in panels)),
        "base": list(dict.fromkeys(p["base"] for p in panels)),
        "seed": ["", *map(str, seeds)] if len(seeds) > 1 else [],
    }


def _dark_colors(specs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return, for each color of the charts, the color that is legible on the dark background."""
    used: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                if key in {"range", "color"}:
                    used.update(v for v in (value if isinstance(value, list) else [value]) if _is_color(v))
                walk(value)
        elif isinstance(part, list):
            for item in part:
                walk(item)

    for spec in specs:
        walk(spec)
    return {color: dark for color in sorted(used) if (dark := legible_color(color, DARK_BACKGROUND)) != color}


def _is_color(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 7 and value.startswith("#")  # noqa: PLR2004 - #rrggbb
