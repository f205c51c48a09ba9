"""Tables and rows as text, Markdown, LaTeX, CSV, JSON and Parquet.

Labels may come from an untrusted data set or model, so every format escapes them: no Markdown or HTML, no LaTeX command,
and no cell that a spreadsheet runs as a formula.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from byheart.core.types import Row, ScoreSet, Table

ROW_COLUMNS = tuple(f.name for f in dataclasses.fields(Row))
"""The columns of rows, in order."""

# From OWASP's "CSV injection": a spreadsheet runs cells that begin with these characters, including the full-width ones.
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_NUMBER_START = re.compile("[-\N{MINUS SIGN}\N{EN DASH}\N{INFINITY}0-9]|$")

_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    # After the \\ of a row, LaTeX reads a bracket or a star as its argument.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\N{EN DASH}": "--",
    "→": r"$\to$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "·": r"$\cdot$",
    "∞": r"$\infty$",
}


def as_text(table: Table) -> str:
    """Return aligned plain text for a terminal."""
    from tabulate import tabulate

    cells = [[_one_line(c) for c in row] for row in table.rows]
    aligned = tabulate(
        cells, [_one_line(h) for h in table.header], "simple", disable_numparse=True, colalign=_alignment(table)
    )
    return _join_paragraphs(_one_line(table.title), aligned, _one_line(table.note))


def as_markdown(table: Table) -> str:
    """Return a pipe table in GitHub's Markdown."""
    from tabulate import tabulate

    cells = [[escape_markdown(c) for c in row] for row in table.rows]
    aligned = tabulate(
        cells, [escape_markdown(h) for h in table.header], "pipe", disable_numparse=True, colalign=_alignment(table)
    )
    return _join_paragraphs(f"**{escape_markdown(table.title)}**", aligned, escape_markdown(table.note))


def as_latex(table: Table) -> str:
    """Return a LaTeX table environment; it needs the packages booktabs and, with pdfLaTeX, T1 fontenc."""
    columns = "".join("r" if side == "right" else "l" for side in _alignment(table))
    note = [rf"\par\smallskip{{\footnotesize {_escape_latex(table.note)}}}"] if table.note else []
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape_latex(table.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_escape_latex, table.header)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_escape_latex, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *note,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def as_csv(table: Table) -> str:
    """Return comma-separated values; a cell that a spreadsheet would run gets a leading apostrophe."""
    return _csv([table.header, *table.rows])


def as_json(table: Table) -> str:
    """Return title, header, rows and note as one JSON object."""
    return json.dumps(dataclasses.asdict(table), ensure_ascii=False, indent=2) + "\n"


def rows_table(rows: Sequence[Row]) -> Table:
    """Return rows as a table, one line each, with numbers of six digits. Leaves out store keys and empty columns."""
    values = [dataclasses.astuple(r) for r in rows]
    columns = [i for i, c in enumerate(ROW_COLUMNS) if c != "scores" and any(not _is_empty(v[i]) for v in values)]
    cells = tuple(tuple(_six_digits(v[i]) for i in columns) for v in values)
    return Table("Rows", tuple(ROW_COLUMNS[i] for i in columns), cells)


def _is_empty(value: object) -> bool:
    return value is None or value is False or value == ""


def _six_digits(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def rows_csv(rows: Sequence[Row]) -> str:
    """Return all columns of rows as comma-separated values, with all digits of numbers; labels are escaped as in `as_csv`."""
    return _csv([ROW_COLUMNS, *(dataclasses.astuple(r) for r in rows)])


def rows_json(rows: Sequence[Row]) -> str:
    """Return rows as a JSON list of objects; a number that is not finite, which JSON lacks, is null."""
    plain = [{name: _null_if_infinite(value) for name, value in dataclasses.asdict(r).items()} for r in rows]
    return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def rows_parquet(rows: Sequence[Row]) -> bytes:
    """Return rows as one Parquet file; an empty list also gives typed columns."""
    # Imported by name, because pyarrow is slow to import, needed here only, and has no type stubs.
    pa: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    arrow = {"str": pa.string(), "int": pa.int64(), "int | None": pa.int64(), "bool": pa.bool_()}
    schema = pa.schema([(f.name, arrow.get(str(f.type), pa.float64())) for f in dataclasses.fields(Row)])
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist([dataclasses.asdict(r) for r in rows], schema=schema), sink)
    return sink.getvalue().to_pybytes()


def scores_parquet(scores: Mapping[str, ScoreSet]) -> bytes:
    """Return all scores as one Parquet file, one line per text: a row's `scores` key, id, membership, group and score."""
    pa: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    names = ("scores", "id", "member", "group", "score")
    lines = [
        (key, i, bool(m), g, float(s))
        for key, score_set in scores.items()
        for i, m, g, s in zip(
            score_set.ids, score_set.members, score_set.groups or score_set.ids, score_set.scores, strict=True
        )
    ]
    types = (pa.string(), pa.string(), pa.bool_(), pa.string(), pa.float64())
    columns = list(zip(*lines, strict=True)) or [()] * len(names)
    table = pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=True)})
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


TABLE_FORMATS: Mapping[str, Callable[[Table], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "json": as_json,
}
"""Formats of a finished table, by name."""

ROW_FORMATS: Mapping[str, Callable[[Sequence[Row]], bytes]] = {
    "text": lambda rows: as_text(rows_table(rows)).encode(),
    "markdown": lambda rows: as_markdown(rows_table(rows)).encode(),
    "latex": lambda rows: as_latex(rows_table(rows)).encode(),
    "csv": lambda rows: rows_csv(rows).encode(),
    "json": lambda rows: rows_json(rows).encode(),
    "parquet": rows_parquet,
}
"""Formats of tidy rows, by name; all return bytes, because Parquet is binary."""


def numeric_columns(table: Table) -> tuple[bool, ...]:
    """Return, per column, whether it contains numbers only; such columns are right-aligned."""
    columns = [[row[i] for row in table.rows] for i in range(len(table.header))]
    return tuple(all(_NUMBER_START.match(cell) for cell in column) for column in columns)


def _alignment(table: Table) -> tuple[str, ...]:
    return tuple("right" if is_numeric else "left" for is_numeric in numeric_columns(table))


def _join_paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _one_line(text: str) -> str:
    # A line break in a label would break the table, and an escape sequence would control the terminal.
    return "".join(c if c.isprintable() else " " for c in text).strip()


def escape_markdown(text: str) -> str:
    """Return a label as escaped Markdown, on one line."""
    escaped = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", escaped)


def _escape_latex(text: str) -> str:
    return "".join(_LATEX_ESCAPES.get(c, c) for c in _one_line(text))


def _csv(lines: Iterable[Iterable[object]]) -> str:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows([_escape_formula(cell) for cell in line] for line in lines)
    return sink.getvalue()


def _escape_formula(cell: object) -> object:
    if not isinstance(cell, str) or not cell.lstrip(" ").startswith(_FORMULA_PREFIXES) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _null_if_infinite(value: object) -> object:
    return value if not isinstance(value, float) or math.isfinite(value) else None
