"""Print rows in the formats of `byheart rows`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from byheart.analysis import formats
from byheart.cli import terminal
from byheart.core.types import Row


def print_rows(rows: Sequence[Row], output_format: str) -> None:
    """Print rows as `table`, `csv`, `json`, `parquet`, `markdown` or `latex`; a table fits the terminal's width."""
    if output_format == "parquet":
        sys.stdout.buffer.write(formats.rows_parquet(rows))
    elif output_format in {"csv", "json"}:
        typer.echo({"csv": formats.rows_csv, "json": formats.rows_json}[output_format](rows), nl=False)
    else:
        table = formats.rows_table(rows)
        formatters = {"markdown": formats.as_markdown, "latex": formats.as_latex}
        if output_format in formatters:
            typer.echo(formatters[output_format](table))
        else:
            typer.echo(terminal.fit_table(table, terminal.terminal_width(sys.stdout)))
