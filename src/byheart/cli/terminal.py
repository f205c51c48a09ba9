"""Tables and sparklines that fit a terminal: columns that do not fit follow below, with the row labels repeated.

Colors and sparklines are printed to a terminal only, never to a file or a pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TextIO

from byheart.analysis import formats, labels, row_values
from byheart.core.row import without_initialized
from byheart.core.types import Row, Table

BARS = "▁▂▃▄▅▆▇█"
COLUMN_GAP = 2
"""Spaces between two columns, and additional spaces for a heading."""
MAX_TRAJECTORIES = 18
"""Trajectories that fit a terminal of 24 lines, with heading and note."""
RED, PLAIN = "\x1b[31m", "\x1b[0m"


def fit_table(table: Table, width: int | None) -> str:
    """Return a table as text with lines of at most `width` characters if possible (None: one block of any width).

    A column with the same value in every row moves to the title. The other columns are divided into blocks, each with
    the row labels at its left.
    """
    if len(table.header) == 0:
        return formats.as_text(table)
    first = next(iter(table.rows), table.header)
    is_constant = [len(table.rows) > 1 and len({row[i] for row in table.rows}) == 1 for i in range(len(table.header))]
    columns = [i for i, constant in enumerate(is_constant) if not constant]
    constants = "; ".join(f"{h} {c}" for h, c, s in zip(table.header, first, is_constant, strict=True) if s and c)
    widths = [
        max(len(table.header[i]) + COLUMN_GAP, *(len(row[i]) for row in table.rows), 1) + COLUMN_GAP for i in columns
    ]
    if width is None or sum(widths) <= width + COLUMN_GAP:
        return _blocks(table, [columns], constants)
    numeric = formats.numeric_columns(table)
    label_columns: list[int] = []
    for i, column_width in zip(columns, widths, strict=True):
        if numeric[i] or sum(widths[: len(label_columns)]) + column_width > width // 2:
            break
        label_columns.append(i)
    labels_count = len(label_columns)
    blocks: list[list[int]] = [list(label_columns)]
    room = width + COLUMN_GAP - sum(widths[:labels_count])
    remaining = room
    for i, column_width in zip(columns[labels_count:], widths[labels_count:], strict=True):
        if column_width > remaining and len(blocks[-1]) > labels_count:
            blocks.append(list(label_columns))
            remaining = room
        blocks[-1].append(i)
        remaining -= column_width
    return _blocks(table, blocks, constants)


def _blocks(table: Table, blocks: Sequence[Sequence[int]], constants: str) -> str:
    parts: list[str] = []
    for nth, block in enumerate(blocks):
        header = tuple(table.header[i] for i in block)
        rows = tuple(tuple(row[i] for i in block) for row in table.rows)
        first, last = nth == 0, nth == len(blocks) - 1
        title = f"{table.title} ({constants})" if constants else table.title
        parts.append(formats.as_text(Table(title if first else "", header, rows, table.note if last else "")))
    return "\n".join(parts)


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Return values as bars between `low` and `high`, one character each."""
    span = max(high - low, 1e-9)
    return "".join(BARS[min(len(BARS) - 1, max(0, int((v - low) / span * len(BARS))))] for v in values)


def trajectories(rows: Sequence[Row], *, color: bool, maximum: int = MAX_TRAJECTORIES) -> str:
    """Return a line per data set, method and attack: AUC by epoch as bars from 0.5 to 1; "" without several epochs.

    Seeds are pooled. With `color`, lines with a last interval above chance are red. Of more lines than `maximum`, each
    method keeps an equal number for its strongest attacks; if one line per method is still too many, only the strongest
    methods remain.
    """
    by_method = _trajectories_by_method(rows)
    if not any(len(line.values) > 1 for lines in by_method for line in lines):
        return ""
    total = sum(map(len, by_method))
    if total > maximum:
        per_method = max(1, maximum // len(by_method))
        strongest = [sorted(lines, key=lambda line: -line.values[-1])[:per_method] for lines in by_method]
        strongest_methods = sorted(strongest, key=lambda lines: -lines[0].values[-1])[:maximum]
        by_method = [lines for lines in strongest if lines in strongest_methods]
    selected = [line for lines in by_method for line in lines]
    name_width = max(len(line.name) for line in selected)
    text_lines = [_trajectory_line(line, name_width, color=color) for line in selected]
    hidden = total - len(selected)
    note = [f"Only the strongest attacks; byheart report shows the other {hidden} too.", ""] if hidden else []
    return "\n".join(["AUC by epoch, from 0.5 (chance) to 1", "", *text_lines, "", *note])


class _Trajectory(NamedTuple):
    """One attack's AUCs by epoch, and whether the last one's interval lies above chance."""

    name: str
    values: list[float]
    is_above_chance: bool


def _trajectory_line(line: _Trajectory, name_width: int, *, color: bool) -> str:
    bars = sparkline(line.values, row_values.CHANCE_AUC, 1.0)
    bars = f"{RED}{bars}{PLAIN}" if color and line.is_above_chance else bars
    first, last = (row_values.format_number(value) for value in (line.values[0], line.values[-1]))
    return f"{line.name:<{name_width}}  {bars}  {first} → {last}"


def _trajectories_by_method(rows: Sequence[Row]) -> list[list[_Trajectory]]:
    """Return the trajectories of each data set and method, in the order of the tables."""
    auc_rows = [r for r in without_initialized(rows) if r.attack and r.metric == "auc" and r.epoch is not None]
    panels, variants, attacks = labels.panels(rows), labels.variants(rows), labels.attacks(auc_rows)
    by_method: list[list[_Trajectory]] = []
    for panel, panel_rows in panels.split(auc_rows).items():
        for method, method_rows in variants.split(panel_rows).items():
            by_method.append([])
            for attack, attack_rows in attacks.split(method_rows).items():
                epochs = sorted({r.epoch for r in attack_rows if r.epoch is not None})
                pooled = [
                    p for e in epochs if (p := row_values.pooled_estimate([r for r in attack_rows if r.epoch == e]))
                ]
                is_above_chance = (pooled[-1].low or 0) > row_values.CHANCE_AUC
                values = [p.value for p in pooled]
                by_method[-1].append(_Trajectory(f"{panel}, {method}, {attack}", values, is_above_chance))
    return by_method


def terminal_width(stream: TextIO) -> int | None:
    """Return the width of the terminal in characters; None if the stream is not a terminal."""
    import shutil

    return shutil.get_terminal_size().columns if stream.isatty() else None
