"""Utility by epoch: Figure 3 of "Impact of Fine-Tuning Methods on Memorization in Large Language Models".

Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258. Departs from the paper: the untuned model's level is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from byheart import labels
from byheart.errors import DataError
from byheart.figures._panels import entitle, grid, level, logarithmic, look, looks, name_lines, trace
from byheart.types import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 5
"""A panel whose highest value is this many times its lowest gets a logarithmic scale."""


def perplexity(rows: Sequence[Row]) -> Figure:
    """Validation perplexity by epoch, a line for each method, a panel for each data set; lower is better.

    Epoch 0 is the untuned model. Raises `DataError` where no perplexity was measured.
    """
    measured = [r for r in rows if r.metric == "perplexity" and not r.attack and r.epoch is not None]
    if not measured:
        raise DataError("the figure of perplexity needs rows of `perplexity` by epoch, and there are none")
    panels, series = labels.panels(measured), labels.series(measured)
    drawn = looks(series)
    with look():
        figure, axes = grid(list(panels.names.values()), shared=False)
        for name, there in panels.split(measured).items():
            values = [r.value for r in there]
            if max(values) > WIDE * min(values):
                axes[name].set_yscale("log")
                logarithmic(axes[name].yaxis)
            trace(axes[name], series.split(there), drawn)
            if base := labels.untuned(there):
                level(axes[name], base.value, labels.UNTUNED)
        entitle(figure, "Validation perplexity by epoch")
        figure.supylabel("validation perplexity", fontsize=8)
        banded = any(r.low is not None for r in measured)
        name_lines(figure, axes, drawn, f"band: {labels.spread(measured)}" if banded else "")
    return figure
