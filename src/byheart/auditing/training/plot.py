"""The curve of a monitored training: AUC by attack and validation perplexity, by evaluation."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from byheart.analysis import row_values
from byheart.analysis.chart import LIGHT_BACKGROUND, Figure, legible_color
from byheart.analysis.labels import attack_label
from byheart.auditing.training.alarms import Evaluation

PICTURE_FORMATS = (".svg", ".png", ".pdf")
WIDTH = 300
"""Pixels of the curve's width."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Masataka Okabe and Kei Ito's colors, which color-blind readers can distinguish."""


def leakage_curve(evaluations: Sequence[Evaluation]) -> Figure:
    """AUC by epoch, one line per attack with its 95 % band; below it the validation perplexity if measured.

    Epoch 0 is the base model.
    """
    import altair as alt

    attacks = list(dict.fromkeys(attack_label(r) for e in evaluations for r in e.rows if r.metric == "auc"))
    colors = [legible_color(c, LIGHT_BACKGROUND) for c, _ in zip(COLORS * len(attacks), attacks, strict=False)]
    color = alt.Color(
        "attack:N",
        scale=alt.Scale(domain=attacks, range=colors),
        legend=alt.Legend(title=None, symbolType="stroke", symbolOpacity=1),
    )
    top: Any = _metric_lines("auc", "AUC").encode(color=color)
    base = alt.Chart(alt.NamedData(name="auc"))
    chance = base.mark_rule(strokeDash=[1, 3], style="level").encode(y=alt.Y("min(chance):Q"))
    panels = [alt.layer(chance, top).properties(width=WIDTH, height=190)]
    data = {"auc": [p | {"chance": row_values.CHANCE_AUC} for p in _points(evaluations, "auc")]}
    if any(e.value("perplexity") is not None for e in evaluations):
        data["perplexity"] = _points(evaluations, "perplexity")
        below: Any = _metric_lines("perplexity", "validation perplexity").encode(
            color=alt.value(legible_color(COLORS[0], LIGHT_BACKGROUND))
        )
        panels.append(below.properties(width=WIDTH, height=120))
    return Figure("Leakage of training texts during training", alt.vconcat(*panels), data)


def _metric_lines(name: str, title: str) -> Any:
    """Return the lines of a metric with their bands, without colors."""
    import altair as alt

    base = alt.Chart(alt.NamedData(name=name))
    epoch = alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False), axis=alt.Axis(format="~r", labelOverlap=True))
    value = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False))
    return alt.layer(
        base.mark_area(opacity=0.12).encode(x=epoch, y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=24)).encode(x=epoch, y=value),
    )


def _points(evaluations: Sequence[Evaluation], metric: str) -> list[dict[str, Any]]:
    rows = [(e.epoch, r) for e in evaluations for r in e.rows if r.metric == metric]
    return [{"epoch": e, "attack": attack_label(r), "value": r.value, "low": r.low, "high": r.high} for e, r in rows]


def curve_picture(evaluations: Sequence[Evaluation], picture_format: str) -> bytes:
    """Return the curve as an image in this format (`svg`, `png`, `pdf`)."""
    return leakage_curve(evaluations).picture(picture_format)


def is_notebook() -> bool:
    """Whether this process is a notebook kernel, which displays images."""
    module: Any = sys.modules.get("IPython")
    return module is not None and type(module.get_ipython()).__name__ == "ZMQInteractiveShell"


def show_in_notebook(evaluations: Sequence[Evaluation], display_handle: Any) -> Any:
    """Display the curve in a notebook, in place of an earlier display (None: a new one); return its handle."""
    display: Any = importlib.import_module("IPython.display")  # not a dependency; only a notebook calls this
    picture = display.SVG(curve_picture(evaluations, "svg"))
    if display_handle is None:
        return display.display(picture, display_id=True)
    display_handle.update(picture)
    return display_handle
