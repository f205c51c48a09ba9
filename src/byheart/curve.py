"""The curve of a training that is watched: AUC by attack and validation perplexity, look by look."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from byheart import labels
from byheart.looks import Look, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = (".svg", ".png", ".pdf")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Masataka Okabe and Kei Ito's colours, which the colour-blind tell apart."""


def curve(looks: Sequence[Look]) -> Figure:
    """AUC by epoch, a line for each attack with its 95 % band, and below it the validation perplexity if there is one.

    Epoch 0 is the untuned model.
    """
    from matplotlib.figure import Figure

    from byheart.figures._panels import entitle, level, look

    attacks = list(dict.fromkeys(named(r) for seen in looks for r in seen.rows if r.metric == "auc"))
    useful = any(seen.value("perplexity") is not None for seen in looks)
    with look():
        figure = Figure(figsize=(5.2, 4.6 if useful else 3.0), layout="constrained")
        panels = figure.subplots(
            2 if useful else 1, sharex=True, squeeze=False, height_ratios=[3, 2] if useful else None
        )
        top: Axes = panels[0, 0]
        for attack, colour in zip(attacks, COLOURS * len(attacks), strict=False):
            _trace(top, looks, "auc", attack, colour)
        level(top, labels.CHANCE, "chance")
        top.set_ylabel("AUC")
        figure.legend(loc="outside right upper")
        if useful:
            _trace(panels[1, 0], looks, "perplexity", "", COLOURS[0])
            panels[1, 0].set_ylabel("validation perplexity")
        panels[-1, 0].set_xlabel("epoch")
        entitle(figure, "What the model knows of its training texts")
    return figure


def _trace(axes: Axes, looks: Sequence[Look], metric: str, attack: str, colour: str) -> None:
    points = [(s.epoch, r) for s in looks for r in s.rows if r.metric == metric and named(r) == attack]
    at = [epoch for epoch, _ in points]
    axes.plot(at, [r.value for _, r in points], color=colour, marker="o", markersize=2.5, label=attack or None)
    banded = [(epoch, r.low, r.high) for epoch, r in points if r.low is not None]
    if banded:
        where, low, high = zip(*banded, strict=True)
        axes.fill_between(where, low, high, color=colour, alpha=0.12, linewidth=0)


def pictured(looks: Sequence[Look], form: str) -> bytes:
    """Return the curve as a picture in this form (`svg`, `png`, `pdf`)."""
    sink = io.BytesIO()
    curve(looks).savefig(sink, format=form, dpi=200)
    return sink.getvalue()


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel, which shows pictures."""
    module: Any = sys.modules.get("IPython")
    return module is not None and type(module.get_ipython()).__name__ == "ZMQInteractiveShell"


def shown(looks: Sequence[Look], place: Any) -> Any:
    """Show the curve in a notebook, in its place from before (None: a new one); return the place."""
    display: Any = importlib.import_module("IPython.display")  # no need of ours: only a notebook comes here
    picture = display.SVG(pictured(looks, "svg"))
    if place is None:
        return display.display(picture, display_id=True)
    place.update(picture)
    return place
