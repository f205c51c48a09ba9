"""Tables and lines that fit a screen: columns that do not fit stand below, under the labels of their lines again.

Colours and small pictures are for people: what is written into a file or a pipe has neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TextIO

from byheart.analysis import formats, labels, row_values
from byheart.core.types import Row, Table

BARS = "▁▂▃▄▅▆▇█"
COLUMN_GAP = 2
"""Spaces between two columns, and those that a heading gets besides."""
MAX_TRAJECTORIES = 18
"""Trajectories that fit a screen of 24 lines, with their heading and what is said of those that do not."""
RED, PLAIN = "\x1b[31m", "\x1b[0m"


def fit_table(table: Table, width: int | None) -> str:
    """Return a table as text, no line wider than `width` letters where that can be (None: in one piece, however wide).

    A column that says the same in every line is told once, above. The other columns are parted into blocks, each with
    the labels at its left.
    """
    if len(table.header) == 0:
        return formats.as_text(table)
    first = next(iter(table.rows), table.header)
    same = [len(table.rows) > 1 and len({row[i] for row in table.rows}) == 1 for i in range(len(table.header))]
    kept = [i for i, s in enumerate(same) if not s]
    said = "; ".join(f"{h} {c}" for h, c, s in zip(table.header, first, same, strict=True) if s and c)
    wide = [max(len(table.header[i]) + COLUMN_GAP, *(len(row[i]) for row in table.rows), 1) + COLUMN_GAP for i in kept]
    if width is None or sum(wide) <= width + COLUMN_GAP:
        return _blocks(table, [kept], said)
    numeric = formats.numeric_columns(table)
    lead: list[int] = []
    for i, w in zip(kept, wide, strict=True):
        if numeric[i] or sum(wide[: len(lead)]) + w > width // 2:
            break
        lead.append(i)
    blocks: list[list[int]] = [list(lead)]
    room = width + COLUMN_GAP - sum(wide[: len(lead)])
    left = room
    for i, w in zip(kept[len(lead) :], wide[len(lead) :], strict=True):
        if w > left and len(blocks[-1]) > len(lead):
            blocks.append(list(lead))
            left = room
        blocks[-1].append(i)
        left -= w
    return _blocks(table, blocks, said)


def _blocks(table: Table, blocks: Sequence[Sequence[int]], said: str) -> str:
    parts: list[str] = []
    for nth, block in enumerate(blocks):
        header = tuple(table.header[i] for i in block)
        rows = tuple(tuple(row[i] for i in block) for row in table.rows)
        first, last = nth == 0, nth == len(blocks) - 1
        head = f"{table.title} ({said})" if said else table.title
        parts.append(formats.as_text(Table(head if first else "", header, rows, table.note if last else "")))
    return "\n".join(parts)


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Return values as bars between two ends, a letter each."""
    span = max(high - low, 1e-9)
    return "".join(BARS[min(len(BARS) - 1, max(0, int((v - low) / span * len(BARS))))] for v in values)


def trajectories(rows: Sequence[Row], *, color: bool, most: int = MAX_TRAJECTORIES) -> str:
    """Return a line for each data set, method and attack: AUC by epoch as bars from chance to one; "" without epochs.

    Those whose last interval lies above chance are coloured where `colour` says so. Seeds are pooled. Of more lines than
    `most`, each method keeps those of its strongest attacks, as many for each, and the strongest methods only where one
    line for each is too many.
    """
    drawn = _trajectories_by_method(rows)
    if not any(len(line.values) > 1 for lines in drawn for line in lines):
        return ""
    total = sum(map(len, drawn))
    if total > most:
        each = max(1, most // len(drawn))
        strong = [sorted(lines, key=lambda line: -line.values[-1])[:each] for lines in drawn]
        leading = sorted(strong, key=lambda lines: -lines[0].values[-1])[:most]
        drawn = [lines for lines in strong if lines in leading]
    kept = [line for lines in drawn for line in lines]
    wide = max(len(line.name) for line in kept)
    told = [
        f"{line.name:<{wide}}  {RED if color and line.is_above_chance else ''}{sparkline(line.values, row_values.CHANCE_AUC, 1.0)}"
        f"{PLAIN if color and line.is_above_chance else ''}  {row_values.format_number(line.values[0])} → {row_values.format_number(line.values[-1])}"
        for line in kept
    ]
    left = [f"The strongest; byheart report shows the other {total - len(kept)} too.", ""] if len(kept) < total else []
    return "\n".join(["AUC by epoch, from chance to one", "", *told, "", *left])


class _Trajectory(NamedTuple):
    """One attack's AUCs by epoch, and whether the last one's interval lies above chance."""

    name: str
    values: list[float]
    is_above_chance: bool


def _trajectories_by_method(rows: Sequence[Row]) -> list[list[_Trajectory]]:
    """Return the lines of each data set and method, in reading order."""
    measured = [r for r in rows if r.attack and r.metric == "auc" and r.epoch is not None]
    panels, variants, attacks = labels.panels(rows), labels.variants(rows), labels.attacks(measured)
    found: list[list[_Trajectory]] = []
    for panel, there in panels.split(measured).items():
        for method, those in variants.split(there).items():
            found.append([])
            for attack, own in attacks.split(those).items():
                epochs = sorted({r.epoch for r in own if r.epoch is not None})
                pooled = [p for e in epochs if (p := row_values.pooled_estimate([r for r in own if r.epoch == e]))]
                above = (pooled[-1].low or 0) > row_values.CHANCE_AUC
                found[-1].append(_Trajectory(f"{panel}, {method}, {attack}", [p.value for p in pooled], above))
    return found


def terminal_width(stream: TextIO) -> int | None:
    """Return how many letters fit into a line of the terminal; None where the stream is none."""
    import shutil

    return shutil.get_terminal_size().columns if stream.isatty() else None
