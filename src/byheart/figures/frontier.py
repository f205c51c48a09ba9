"""Leakage against utility: what a method leaks for what it learns, epoch by epoch.

After the trade-off curves of differential privacy's accuracy against attack success (Bargav Jayaraman, David Evans,
Evaluating Differentially Private Machine Learning in Practice, USENIX Security 2019, arXiv 1902.08874), here for methods
of fine-tuning. Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258 show leakage and perplexity in two figures, so that a method
that leaks less because it learned less looks like one that keeps less.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byheart import labels
from byheart.errors import DataError
from byheart.figures._names import name_points
from byheart.figures._panels import (
    FAINT,
    INK,
    Look,
    entitle,
    few,
    grid,
    level,
    logarithmic,
    look,
    looks,
    name_lines,
)
from byheart.types import Estimate, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 5
"""A panel whose highest perplexity is this many times its lowest gets a logarithmic scale."""
BASE = "*"
LETTERS = 17
"""How many letters of the note fit into an inch."""


class Point(NamedTuple):
    """Where a method stands after an epoch."""

    epoch: int
    perplexity: float
    auc: Estimate


def frontier(rows: Sequence[Row], *, attack: str = "loss") -> Figure:
    """AUC of an attack against validation perplexity, a path through the epochs for each method; low and left is best.

    A star marks the untuned model, where all paths begin; dots grow with the epoch. Bars are the AUC's intervals; those
    of the perplexity are left to its own figure. Raises `DataError` where an attack was not measured beside perplexity.
    """
    measured = [r for r in rows if r.attack == attack and r.metric == "auc" and r.epoch is not None]
    use = [r for r in rows if r.metric == "perplexity" and not r.attack and r.epoch is not None]
    series, panels = labels.series(measured), labels.panels(measured)
    utility = labels.panels(rows).split(use)
    held = {
        name: {s: p for s, those in series.split(there).items() if (p := _path(those, utility.get(name, [])))}
        for name, there in panels.split(measured).items()
    }
    held = {name: paths for name, paths in held.items() if paths}
    if not held:
        known = ", ".join(sorted({r.attack for r in rows if r.attack})) or "none"
        raise DataError(f"the frontier needs the attack {attack!r} and perplexity at the same epochs; attacks: {known}")
    drawn = looks(series)
    with look():
        figure, axes = grid(list(held), shared=True, height=2.9)
        for name, paths in held.items():
            _panel(axes[name], paths, drawn)
        entitle(figure, f"Leakage against utility: {labels.attack_name(attack)}")
        figure.supylabel(labels.metric_name("auc"), fontsize=8)
        note = (
            f"star: {labels.UNTUNED}; dots: epochs, the last largest; bars: {labels.spread(measured)}; dotted: chance"
        )
        if few(drawn):
            figure.supxlabel(textwrap.fill(note, int(LETTERS * figure.get_size_inches()[0])), fontsize=7)
            figure.draw_without_rendering()  # only then are the panels' places known
            for name, paths in held.items():
                name_points(
                    figure, axes[name], {s: (p[-1].perplexity, p[-1].auc.value) for s, p in paths.items()}, drawn
                )
        else:
            name_lines(figure, axes, drawn, note)
    return figure


def _path(rows: Sequence[Row], utility: Sequence[Row]) -> list[Point]:
    """Return perplexity and AUC at each epoch at which both are known, seeds pooled."""
    cells = {r.cell for r in rows}
    path: list[Point] = []
    for epoch in sorted({r.epoch for r in rows if r.epoch is not None}):
        leak = labels.pooled([r for r in rows if r.epoch == epoch])
        there = labels.pooled([r for r in utility if r.epoch == epoch and r.cell in cells])
        if leak is not None and there is not None and np.isfinite(there.value):
            path.append(Point(epoch, there.value, leak))
    return path


def _panel(axes: Axes, paths: Mapping[str, Sequence[Point]], drawn: Mapping[str, Look]) -> None:
    for name, path in paths.items():
        style = drawn[name]
        across, up = [p.perplexity for p in path], [p.auc.value for p in path]
        axes.plot(across, up, style.dashes, color=style.colour, label=name, linewidth=1.2)
        sizes = np.linspace(6, 26, len(path)) if len(path) > 1 else [26]
        axes.scatter(across, up, s=sizes, color=style.colour, marker=style.marker, linewidths=0, zorder=3)
        for point in path:
            if point.epoch:
                _bar(axes, point, style.colour)
    level(axes, labels.CHANCE, "chance")
    # Every cell repeats the untuned model, so the first one's stands for all.
    start = next((p for path in paths.values() for p in path if p.epoch == 0), None)
    if start is not None:
        _bar(axes, start, INK)
        axes.scatter([start.perplexity], [start.auc.value], s=90, color=INK, marker=BASE, zorder=4, linewidths=0)
    axes.set_xlabel("validation perplexity (lower is better)")
    axes.grid(visible=True, axis="x", color="#eeeeee")
    axes.tick_params(axis="x", color=FAINT)
    values = [p.perplexity for path in paths.values() for p in path]
    if max(values) > WIDE * min(values):
        axes.set_xscale("log")
        logarithmic(axes.xaxis)


def _bar(axes: Axes, point: Point, colour: str) -> None:
    if point.auc.low is not None and point.auc.high is not None:
        axes.vlines(point.perplexity, point.auc.low, point.auc.high, color=colour, alpha=0.35, linewidth=0.9)
