"""Progress of a run: a bar on a terminal, plain lines in a log, one JSON object per line for programs."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from byheart.analysis.row_values import format_count
from byheart.core.row import is_base_row
from byheart.core.types import Row
from byheart.store.rows import last_epoch_rows
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event
from byheart.study.run_cells import CellOutcome

if TYPE_CHECKING:
    from rich.progress import TaskID


MINUTES_THRESHOLD = 90
"""Seconds from which the remaining time is shown in minutes."""
MAX_ATTACKS_NAMED, ATTACKS_NAMED_OF_MANY = 5, 3
"""A cell's line names all attacks up to the first number; of more attacks it names the second number."""


class ProgressDisplay(Protocol):
    """Displays the progress of a run."""

    def on_plan(self, planned: Sequence[PlannedCell], work: float, made: float) -> None:
        """Show the plan: cells, remaining work (forward passes of one token), and cached work."""
        ...

    def on_event(self, event: Event) -> None:
        """Show an event inside a cell."""
        ...

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """Show the outcome of a cell."""
        ...

    def close(self) -> None:
        """End the display."""
        ...


def outcome_line(outcome: CellOutcome) -> str:
    """Return a cell's result as one line: attacks with AUC and interval, and validation perplexity.

    Of more than `MAX_ATTACKS_NAMED` attacks, the line names those with the highest AUCs and counts the others.
    """
    if outcome.error:
        return f"failed  {outcome.cell}: {outcome.error}"
    parts = [x for x in (outcome.cell, outcome.note) if x]
    aucs = last_epoch_rows(outcome.rows, "auc")
    named = aucs if len(aucs) <= MAX_ATTACKS_NAMED else sorted(aucs, key=lambda r: -r.value)[:ATTACKS_NAMED_OF_MANY]
    parts += [f"{_attack_name(row, aucs)} {_value_text(row)}" for row in named]
    if others := len(aucs) - len(named):
        parts.append(f"and {format_count(others, 'other')}, none stronger")
    first = [r for r in outcome.rows if r.metric == "perplexity" and is_base_row(r)]
    final = last_epoch_rows(outcome.rows, "perplexity")
    if first and final:
        parts.append(f"perplexity {first[0].value:.2f} → {final[0].value:.2f}")
    return "done    " + "  ".join(parts)


def _attack_name(row: Row, rows: Sequence[Row]) -> str:
    """Return an attack's name, with its settings if several rows have this attack."""
    if sum(r.attack == row.attack for r in rows) == 1:
        return row.attack
    return " ".join(x for x in (row.attack, row.attack_settings, row.metric_settings) if x)


def _value_text(row: Row) -> str:
    interval = f" [{row.low:.2f}, {row.high:.2f}]" if row.low is not None and row.high is not None else ""
    return f"{row.value:.2f}{interval}"


class Clock:
    """Share of work that is done, and the remaining time, estimated from the speed of this run.

    `work` is the remaining work, `made` the work of earlier runs, both in forward passes of one token.
    """

    def __init__(self, work: float, made: float = 0.0) -> None:
        self.total, self.made, self.done, self.start_time = work + made, made, 0.0, time.monotonic()

    def advance(self, event: Event) -> str:
        """Count an event's work as done; return the share and the remaining time as text."""
        remaining = self.total - self.made - self.done
        if event.kind == "begin":
            self.made += min(event.work, remaining)
        else:
            self.done += min(event.work, remaining)
        return self.progress_text()

    def progress_text(self) -> str:
        """Return the share of work that is done, and the remaining time once this run has done any work."""
        share = f"{100 * (self.made + self.done) / self.total:.0f} %" if self.total else "100 %"
        if not self.done:
            return share
        remaining = self.total - self.made - self.done
        return f"{share}, {time_left_text((time.monotonic() - self.start_time) * remaining / self.done)}"


def _plan_line(planned: Sequence[PlannedCell], work: float, clock: Clock) -> str:
    """Return the number of cells, and the share of their work that is cached."""
    cached = f"; {clock.progress_text()} of the work is cached" if clock.made else ""
    return format_count(len(planned), "cell") + (cached if work else "; all results are cached")


def time_left_text(seconds: float) -> str:
    """Return a remaining time in minutes or seconds."""
    return f"about {seconds / 60:.0f} min left" if seconds >= MINUTES_THRESHOLD else f"about {seconds:.0f} s left"


class LogLines:
    """Plain lines, for a log."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.clock = stream, Clock(0)

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()

    def on_plan(self, planned: Sequence[PlannedCell], work: float, made: float) -> None:
        """See `ProgressDisplay`."""
        self.clock = Clock(work, made)
        self._line(_plan_line(planned, work, self.clock))

    def on_event(self, event: Event) -> None:
        """See `ProgressDisplay`."""
        share = self.clock.advance(event)
        self._line(f"[{share}] {event.cell}: {event.text}")

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """See `ProgressDisplay`."""
        self._line(outcome_line(outcome))
        if outcome.trace:
            self._line(outcome.trace)

    def close(self) -> None:
        """See `ProgressDisplay`."""


class ProgressBar:
    """A bar with the remaining time, below the lines of finished cells, for a terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            BarColumn(bar_width=24),
            TextColumn("{task.fields[share]}"),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self.progress = Progress(*columns, console=Console(file=stream, highlight=False))
        self.clock, self.task = Clock(0), None

    task: TaskID | None

    def on_plan(self, planned: Sequence[PlannedCell], work: float, made: float) -> None:
        """See `ProgressDisplay`."""
        self.clock = Clock(work, made)
        self.progress.console.print(_plan_line(planned, work, self.clock))
        if work:
            self.progress.start()
            self.task = self.progress.add_task("", total=work + made, share=self.clock.progress_text())
            self.progress.update(self.task, completed=made)

    def on_event(self, event: Event) -> None:
        """See `ProgressDisplay`."""
        if self.task is not None:
            share = self.clock.advance(event)
            self.progress.update(self.task, advance=event.work, share=share, description=f"{event.cell}: {event.text}")

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """See `ProgressDisplay`."""
        self.progress.console.print(
            outcome_line(outcome), markup=False, soft_wrap=True, style="red" if outcome.error else None
        )
        if outcome.trace:
            self.progress.console.print(outcome.trace, markup=False)

    def close(self) -> None:
        """See `ProgressDisplay`."""
        if self.task is not None:
            self.progress.update(self.task, completed=self.clock.total, share="100 %", description="")
        self.progress.stop()


class JsonLines:
    """One JSON object per line, for programs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def _line(self, kind: str, **content: object) -> None:
        self.stream.write(json.dumps({"event": kind, **content}) + "\n")
        self.stream.flush()

    def on_plan(self, planned: Sequence[PlannedCell], work: float, made: float) -> None:
        """See `ProgressDisplay`."""
        self._line("begun", cells=[p.cell.label for p in planned], work=work, made=made)

    def on_event(self, event: Event) -> None:
        """See `ProgressDisplay`."""
        self._line(event.kind, cell=event.cell, text=event.text, work=event.work)

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """See `ProgressDisplay`."""
        rows = [dataclasses.asdict(r) for r in outcome.rows]
        note = {"note": outcome.note} if outcome.note else {}
        self._line("failed" if outcome.error else "done", cell=outcome.cell, error=outcome.error, rows=rows, **note)

    def close(self) -> None:
        """See `ProgressDisplay`."""
        self._line("closed")


def progress_display(stream: TextIO, *, as_json: bool) -> ProgressDisplay:
    """Return the progress display for a stream."""
    if as_json:
        return JsonLines(stream)
    return ProgressBar(stream) if stream.isatty() else LogLines(stream)
