"""What every figure shares: its look, its grid of panels, lines with bands, and names at the lines' ends.

matplotlib is imported inside functions, and pyplot never: a figure is made, returned and forgotten, with no global
list of figures behind it.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from byheart import labels
from byheart.types import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, FAINT = "#262626", "#8a8a8a"
COLUMN_INCHES, PAGE_INCHES = 3.5, 7.0
"""The widths of one column and of the text of a two-column paper."""
MOST_NAMED, LONGEST_NAMED = 9, 26
"""How many lines, and of how many letters, are named at their ends; else the names go into a legend."""
TITLE_LETTERS = {1: 44, 2: 44, 3: 30, 4: 26}
"""How many letters fit over a panel, by how many panels stand side by side."""
MOST_MARKED = 20
"""How many epochs get a marker each."""
DARKEST = 0.65
"""How much black is mixed into the last of a method's settings."""
LEVEL = ":"
"""The dashes of a level to compare with; no method has them."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

LOOK = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    # A label such as "a$b$c" is a name and not a formula.
    "text.parse_math": False,
}


class Look(NamedTuple):
    """How a line is drawn. The colour tells the method, the dashes its family, the marker its settings."""

    colour: str
    dashes: str
    marker: str


@contextmanager
def look() -> Generator[None]:
    """Draw in byheart's look, whatever the reader's own matplotlibrc says, and put that back afterwards."""
    import matplotlib.style

    with matplotlib.style.context(["default", LOOK]):
        yield


def grid(names: Sequence[str], *, shared: bool, most: int = 3, height: float = 2.3) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one titled panel for each name; `shared` panels have one scale of y."""
    from matplotlib.figure import Figure

    count = len(names)
    across = 2 if count == 4 and most == 3 else min(count, most)  # noqa: PLR2004 - four panels make a square
    down = -(-count // across)
    width = COLUMN_INCHES if across == 1 else PAGE_INCHES
    figure = Figure(figsize=(width, height * down + 0.5), layout="constrained")
    axes = figure.subplots(down, across, sharey=shared, squeeze=False).ravel()
    for name, axis in zip(names, axes, strict=False):
        entitle_panel(axis, name, across)
        axis.tick_params(labelleft=True)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, dict(zip(names, axes, strict=False))


def entitle(figure: Figure, title: str) -> None:
    """Set the figure's title, flush left."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=9, fontweight="bold")


def entitle_panel(axes: Axes, title: str, across: int) -> None:
    """Set a panel's title, flush left, on two lines where one is too short for it; what is longer is cut."""
    letters = TITLE_LETTERS[across]
    axes.set_title("\n".join(textwrap.wrap(title, letters, max_lines=2, placeholder="…")), loc="left")


def looks(series: labels.Naming) -> dict[str, Look]:
    """Return how each series is drawn, by name; a method's further settings are darker and change the marker."""
    settings = Counter(method for method, *_ in series.names)
    seen: Counter[str] = Counter()
    drawn: dict[str, Look] = {}
    for (method, *_), name in series.names.items():
        nth, last = seen[method], max(settings[method] - 1, 1)
        colour = mixed(labels.colour(method), DARKEST * nth / last)
        drawn[name] = Look(colour, "--" if method in labels.PROMPT_BASED else "-", MARKERS[nth % len(MARKERS)])
        seen[method] += 1
    return drawn


def trace(axes: Axes, held: Mapping[str, Sequence[Row]], drawn: Mapping[str, Look]) -> None:
    """Draw each series by epoch, with a band where there are intervals."""
    from matplotlib.ticker import MaxNLocator

    for name, rows in held.items():
        epochs = sorted({r.epoch for r in rows if r.epoch is not None})
        points = [p for e in epochs if (p := labels.pooled([r for r in rows if r.epoch == e]))]
        style = drawn[name]
        size = 2.5 if len(epochs) <= MOST_MARKED else 0
        values = [p.value for p in points]
        axes.plot(epochs, values, style.dashes, color=style.colour, marker=style.marker, markersize=size, label=name)
        banded = [(e, p.low, p.high) for e, p in zip(epochs, points, strict=True) if p.low is not None]
        if banded:
            at, low, high = zip(*banded, strict=True)
            axes.fill_between(at, low, high, color=style.colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def level(axes: Axes, height: float, name: str) -> None:
    """Draw a level to compare with; it is named as the lines are."""
    axes.axhline(height, color=FAINT, linewidth=0.9, linestyle=LEVEL, zorder=1, label=name)


def logarithmic(axis: Axis) -> None:
    """Number a logarithmic scale in full: matplotlib's own ticks are formulas, which our look leaves unread."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def few(drawn: Mapping[str, Look]) -> bool:
    """Whether the names are few and short enough to stand beside their lines."""
    return len(drawn) <= MOST_NAMED and max(map(len, drawn)) <= LONGEST_NAMED


def name_lines(figure: Figure, panels: Mapping[str, Axes], drawn: Mapping[str, Look], note: str) -> None:
    """Name every line at its end, or in a legend where there are too many; call it when the scales are settled.

    `note` says what the bands are. It stands below, or heads the legend.
    """
    longest = max(map(len, drawn))
    if few(drawn):
        figure.supxlabel(note, fontsize=7)
        figure.draw_without_rendering()  # only then are the panels' heights known
        for axes in panels.values():
            _name_ends(figure, axes)
        return
    lines = {str(line.get_label()): line for axes in panels.values() for line in axes.get_lines()}
    named = sorted(lines, key=lambda n: list(drawn).index(n) if n in drawn else len(drawn))
    fit = int(15 * figure.get_size_inches()[0])
    columns = max(1, min(4, fit // (longest + 8)))
    short = [n if len(n) <= fit else f"{n[: fit - 1]}…" for n in named]
    figure.set_figheight(figure.get_size_inches()[1] + 0.17 * (len(named) // columns + 1))
    place = "outside lower center"
    figure.legend([lines[n] for n in named], short, loc=place, ncols=columns, title=note, title_fontsize=7)


def _name_ends(figure: Figure, axes: Axes) -> None:
    """Write names right of the axes, moved as little as keeps them apart, each tied to its line by a thin stroke."""
    from scipy.optimize import isotonic_regression

    lines = axes.get_lines()
    points = [np.asarray(line.get_xydata(), dtype=float) for line in lines]
    ends = np.array([p[np.isfinite(p).all(axis=1)][-1] for p in points])  # a perplexity may overflow
    # A level's own x runs from 0 to 1, of the axes; its name belongs where the lines end.
    levels = np.array([line.get_linestyle() == LEVEL for line in lines])
    ends[levels, 0] = ends[~levels, 0].max()
    places = axes.transAxes.inverted().transform(axes.transData.transform(ends))
    order = np.argsort(places[:, 1], kind="stable")
    gap = 8.5 / 72 / (figure.get_size_inches()[1] * axes.get_position().height)
    steps = gap * np.arange(len(lines))
    heights = isotonic_regression(places[order, 1] - steps).x + steps
    for i, height in zip(order, heights, strict=True):
        colour = str(lines[i].get_color())
        axes.annotate(
            str(lines[i].get_label()),
            tuple(ends[i]),
            xytext=(1.06, height),
            textcoords="axes fraction",
            va="center",
            fontsize=7,
            color=mixed(colour, 0.32),
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
        )


def mixed(colour: str, black: float) -> str:
    """Mix a colour with black, as a share: a line may be pale, small print may not."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(colour)
    return to_hex(((1 - black) * red, (1 - black) * green, (1 - black) * blue))
