"""The summary that `byheart run` prints: methods table, trajectories, verdicts, and the commands that show more."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from byheart.core.types import Row
    from byheart.store.store import Store


def print_summary(store: Store, folder: Path, study: str, rows: int) -> None:
    """Print the results of a study from its store; `rows` is the number of rows of this run."""
    from byheart.analysis.base_model_check import gate_lines, panel_gates
    from byheart.analysis.model_choices import choice_summaries
    from byheart.analysis.verdicts import verdict_lines
    from byheart.cli import terminal
    from byheart.core.registry import choose
    from byheart.report.exhibits import make_tables
    from byheart.study.study_report import report_content

    content = report_content(store, study)
    table = make_tables(content, [choose("tables", "methods")]).get("methods")
    width = terminal.terminal_width(sys.stdout)
    typer.echo("\n" + terminal.fit_table(table, width) if table else "")
    if width is not None and (lines := terminal.trajectories(content.rows, color="NO_COLOR" not in os.environ)):
        typer.echo(lines)
    gates = panel_gates(content.rows, content.scores, content.gates)
    typer.echo("\n".join(gate_lines(gates)))
    if line := truncation_line(content.rows):
        typer.echo(line)
    typer.echo("\nVerdicts use simultaneous intervals over all attacks and methods, wider than the intervals above.")
    typer.echo("\n".join([*verdict_lines(content.rows, content.scores, gates), ""]))
    for panel, summary in choice_summaries(content.rows, content.scores, gates).items():
        typer.echo(f"Which model to choose, {panel}? {summary}\n")
    options = f"--store {shlex.quote(str(folder))} --study {shlex.quote(study)}"
    typer.echo(f"{rows} rows in {folder}: byheart rows {options}")
    method = next(r.method for r in content.rows if r.method)
    typer.echo(
        f"Model of a method after an epoch, as a folder: byheart model {options} --where method={method} --epoch 1 -o model"
    )
    typer.echo(f"Report with verdicts, exposed records and figures: byheart report {options} -o report.html")


def truncation_line(rows: Sequence[Row]) -> str:
    """Return a line about texts that were cut at `max_tokens`; "" if none were."""
    largest = max((int(r.value) for r in rows if r.metric == "truncated_texts"), default=0)
    if not largest:
        return ""
    noun = "text is" if largest == 1 else "texts are"
    return (
        f"\n{largest} {noun} longer than data.max_tokens, and only the beginning is trained on and scored. "
        "Raise data.max_tokens if private values stand at the end."
    )
