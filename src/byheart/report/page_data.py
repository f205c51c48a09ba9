"""What the page's script reads: figures as Vega-Lite, their numbers once, the records, and what the switches offer.

All of it travels as one JSON document, deflated and in base64: nothing in it is markup, and a study's thousands of numbers
take a tenth of the room.
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
"""Pixels of a letter in the page's charts; print has smaller ones."""


def script() -> str:
    """Return the page's own script."""
    return resources.files("byheart.report").joinpath("templates", "report.js").read_text(encoding="utf-8")


def style() -> str:
    """Return the page's style."""
    return resources.files("byheart.report").joinpath("templates", "report.css").read_text(encoding="utf-8")


def csp_hash(source: str) -> str:
    """Return a script's hash as a Content-Security-Policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def compress_json(content: Mapping[str, Any]) -> str:
    """Return a JSON document, deflated, in base64. Numbers keep six digits."""
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
    """Return what the script reads.

    `offered` is what can be picked (`switches`); `given` holds what a study's file sets of each figure, which no switch
    changes.
    """
    specs = {name: figure.spec_without_data for name, figure in figures.items()}
    known = panel_labels(rows)
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
        "colours": _dark_colors(specs.values()),
        "records": records,
        "panels": known,
        "seeds": switch_options.get("seed", []),
        "attacks": switch_options["attack"],
        "metrics": switch_options["metric"],
        "picked": {
            **_initial_picks(switch_options, specs.values()),
            "panel": known[0]["name"],
            "epoch": max((r.epoch or 0 for r in rows), default=0),
        },
    }


def _pick_parameters(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        p["name"].removeprefix(PICK_PREFIX): p["value"]
        for p in spec.get("params", [])
        if p["name"].startswith(PICK_PREFIX)
    }


def panel_labels(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return each panel's name with the names of its data set and base model."""
    named, data, base = labels.panels(rows), labels.datasets(rows), labels.bases(rows)
    return [{"name": n, "data": data(those[0]), "base": base(those[0])} for n, those in named.split(rows).items()]


def _initial_picks(switch_options: Mapping[str, Sequence[str]], specs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the switches say at first: what the figures say, or the first there is."""
    told: dict[str, Any] = {}
    for spec in specs:
        told = {**_pick_parameters(spec), **told}
    first = {name: options[0] for name, options in switch_options.items() if options}
    return {"attack": first.get("attack", ""), "metric": first.get("metric", ""), "seed": "", **told}


def switches(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what can be picked of each kind, in reading order; a seed only where there are several."""
    from byheart.analysis.chart_points import chart_names

    names, known = chart_names(rows), panel_labels(rows)
    seeds = sorted({r.seed for r in rows})
    return {
        "attack": list(names.attacks.names.values()),
        "metric": list(names.metrics.values()),
        "data": list(dict.fromkeys(p["data"] for p in known)),
        "base": list(dict.fromkeys(p["base"] for p in known)),
        "seed": ["", *map(str, seeds)] if len(seeds) > 1 else [],
    }


def _dark_colors(specs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return, for each colour that charts are drawn in on paper, the one that is seen on a dark screen."""
    used: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                if key in {"range", "color"}:
                    used.update(v for v in (value if isinstance(value, list) else [value]) if _is_color(v))
                walk(value)
        elif isinstance(part, list):
            for one in part:
                walk(one)

    for spec in specs:
        walk(spec)
    return {colour: dark for colour in sorted(used) if (dark := legible_color(colour, DARK_BACKGROUND)) != colour}


def _is_color(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 7 and value.startswith("#")  # noqa: PLR2004 - #rrggbb
