"""Names beside points, where they cover neither each other nor a line."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from byheart.figures._panels import LEVEL, Look, mixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

DISTANCES = (9, 16, 26, 38)
"""From the point to its name, in points of print, the first that fits."""
DIRECTIONS = 12
FARTHER = 0.4
"""What a further distance costs, in lines crossed by the name."""


def name_points(
    figure: Figure, axes: Axes, points: Mapping[str, tuple[float, float]], drawn: Mapping[str, Look]
) -> None:
    """Write each point's name beside it, tied to it by a thin stroke where it stands apart; scales must be settled."""
    covered = _samples(axes)
    taken: list[Float[np.ndarray, " 4"]] = []
    frame = np.array(axes.get_window_extent().extents)
    pixels = figure.dpi / 72
    # From the top down, so that names of close points keep the points' order.
    for name, point in sorted(points.items(), key=lambda p: -p[1][1]):
        size = _size(axes, name, point)
        at = axes.transData.transform(point)
        tried = [
            (_cost(box, taken, covered, frame) + FARTHER * far, number, spot, box)
            for number, (far, distance, angle) in enumerate(_spots())
            for spot in [(distance * math.cos(angle), distance * math.sin(angle))]
            for box in [_box(at + np.array(spot) * pixels, size, spot, pixels)]
        ]
        _, _, best, box = min(tried, key=lambda t: t[:2])
        taken.append(box)
        colour = drawn[name].colour
        note = _write(axes, name, point, best)
        note.set_color(mixed(colour, 0.32))
        if math.hypot(*best) > DISTANCES[0]:
            axes.annotate(
                "",
                point,
                xytext=(0.8 * best[0], 0.8 * best[1]),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
            )


def _spots() -> list[tuple[int, float, float]]:
    """Number of the distance, distance and angle of every spot that is tried; level ones first."""
    angles = sorted((2 * math.pi * i / DIRECTIONS for i in range(DIRECTIONS)), key=lambda a: (abs(math.sin(a)), a))
    return [(far, distance, angle) for (far, distance), angle in itertools.product(enumerate(DISTANCES), angles)]


def _write(axes: Axes, name: str, point: tuple[float, float], spot: tuple[float, float]) -> Annotation:
    return axes.annotate(
        name,
        point,
        xytext=spot,
        textcoords="offset points",
        ha=("left", "center", "right")[1 - _side(spot)],
        va="center",
        fontsize=7,
        annotation_clip=False,
    )


def _side(spot: tuple[float, float]) -> int:
    """Whether a name stands left of its point (-1), over or under it (0), or right of it (1)."""
    return int(spot[0] > 1) - int(spot[0] < -1)


def _size(axes: Axes, name: str, point: tuple[float, float]) -> Float[np.ndarray, " 2"]:
    """Width and height (pixels) of a name."""
    note = _write(axes, name, point, (0.0, 0.0))
    extent = note.get_window_extent()
    note.remove()
    return np.array([extent.width, extent.height])


def _box(
    at: Float[np.ndarray, " 2"], size: Float[np.ndarray, " 2"], spot: tuple[float, float], margin: float
) -> Float[np.ndarray, " 4"]:
    """Left, bottom, right and top (pixels) of a name that is written at a place, with a margin."""
    corner = at - size * np.array([(1 - _side(spot)) / 2, 0.5])
    return np.concatenate([corner - margin, corner + size + margin])


def _samples(axes: Axes) -> Float[np.ndarray, "samples 2"]:
    """Points (pixels) close together along every line of the axes, bars of intervals too."""
    from matplotlib.collections import LineCollection

    lines = [np.asarray(line.get_xydata()) for line in axes.get_lines() if line.get_linestyle() != LEVEL]
    bars = [np.asarray(s) for c in axes.collections if isinstance(c, LineCollection) for s in c.get_segments()]
    along: list[np.ndarray] = []
    for path in (*lines, *bars):
        pixels = axes.transData.transform(path)
        for a, b in itertools.pairwise(pixels):
            steps = max(2, int(np.hypot(*(b - a)) / 3))
            along.append(a + np.linspace(0, 1, steps)[:, None] * (b - a))
    return np.concatenate(along) if along else np.zeros((0, 2))


def _cost(
    box: Float[np.ndarray, " 4"],
    taken: Sequence[Float[np.ndarray, " 4"]],
    covered: Float[np.ndarray, "samples 2"],
    frame: Float[np.ndarray, " 4"],
) -> float:
    """How bad a place is: other names count most, then what it stands out of the frame, then lines under it."""
    left, bottom, right, top = box
    names = sum(left < t[2] and t[0] < right and bottom < t[3] and t[1] < top for t in taken)
    out = left < frame[0] or bottom < frame[1] or top > frame[3] or right > frame[2]
    inside = (covered[:, 0] > left) & (covered[:, 0] < right) & (covered[:, 1] > bottom) & (covered[:, 1] < top)
    return 100.0 * names + 20.0 * out + float(inside.sum()) / 3
