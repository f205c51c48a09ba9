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
    from byheart.analysis.model_choices import choice_summary, model_choices, named_choices
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
    options = f"--store {shlex.quote(str(folder))} --study {shlex.quote(study)}"
    for panel, choices in model_choices(content.rows, content.scores, gates).items():
        if len(choices) > 1:
            typer.echo(f"Which model to choose, {panel}? {choice_summary(choices)}")
            for choice in dict.fromkeys(named_choices(choices)):
                command = (
                    f"byheart model {options} --where cell={choice.cell} --epoch {choice.verdict.epoch:g} -o model"
                )
                typer.echo(f"{choice.name}, as a folder: {command}")
            typer.echo("")
    typer.echo(f"{rows} rows in {folder}: byheart rows {options}")
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
