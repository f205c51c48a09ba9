"""How a run is shown: a bar on a terminal, plain lines in a log, one JSON object a line for programs."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from byheart.analysis.row_values import format_count
from byheart.core.types import Row
from byheart.store.rows import last_epoch_rows
from byheart.study.planned_cell import PlannedCell
from byheart.study.train_and_observe import Event
from byheart.study.workers import CellOutcome

if TYPE_CHECKING:
    from rich.progress import TaskID


MINUTES_THRESHOLD = 90
"""Seconds from which on a time is told in minutes."""
MAX_ATTACKS_NAMED, ATTACKS_NAMED_OF_MANY = 5, 3
"""Attacks up to which a cell's line names each, and how many it names of more."""


class ProgressDisplay(Protocol):
    """What is told while a study runs."""

    def on_plan(self, planned: Sequence[PlannedCell], work: float, made: float) -> None:
        """The plan stands: these cells, so much work left (forward passes of one token), so much in the store."""
        ...

    def on_event(self, event: Event) -> None:
        """Something happened inside a cell."""
        ...

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """A cell has ended."""
        ...

    def close(self) -> None:
        """Everything has ended."""
        ...


def outcome_line(outcome: CellOutcome) -> str:
    """Return a cell's result in one line: attacks with AUC and interval, perplexity of validation texts.

    Of more than `MANY` attacks the strongest are named, first the one with the highest AUC, and the others counted.
    """
    if outcome.error:
        return f"failed  {outcome.cell}: {outcome.error}"
    parts = [outcome.cell]
    attacked = last_epoch_rows(outcome.rows, "auc")
    told = (
        attacked
        if len(attacked) <= MAX_ATTACKS_NAMED
        else sorted(attacked, key=lambda r: -r.value)[:ATTACKS_NAMED_OF_MANY]
    )
    parts += [f"{_attack(row, attacked)} {_value(row)}" for row in told]
    if others := len(attacked) - len(told):
        parts.append(f"and {format_count(others, 'other')}, none stronger")
    first = [r for r in outcome.rows if r.metric == "perplexity" and r.epoch == 0]
    final = last_epoch_rows(outcome.rows, "perplexity")
    if first and final:
        parts.append(f"perplexity {first[0].value:.2f} → {final[0].value:.2f}")
    return "done    " + "  ".join(parts)


def _attack(row: Row, among: Sequence[Row]) -> str:
    """Return an attack's name, with its settings where it is there with others too."""
    twice = sum(r.attack == row.attack for r in among) > 1
    return " ".join(x for x in (row.attack, row.attack_settings, row.metric_settings) if x) if twice else row.attack


def _value(row: Row) -> str:
    interval = f" [{row.low:.2f}, {row.high:.2f}]" if row.low is not None and row.high is not None else ""
    return f"{row.value:.2f}{interval}"


class Clock:
    """How much work is done, by earlier runs too, and how long the rest takes, from the work that this run has done."""

    def __init__(self, work: float, made: float = 0.0) -> None:
        self.whole, self.made, self.done, self.began = work + made, made, 0.0, time.monotonic()

    def advance(self, event: Event) -> str:
        """Count an event's work as done and return the share and the time left in words."""
        left = self.whole - self.made - self.done
        if event.kind == "begin":
            self.made += min(event.work, left)
        else:
            self.done += min(event.work, left)
        return self.progress_text()

    def progress_text(self) -> str:
        """Return the share that is done, and the time left once this run has done any work."""
        share = f"{100 * (self.made + self.done) / self.whole:.0f} %" if self.whole else "100 %"
        if not self.done:
            return share
        left = self.whole - self.made - self.done
        return f"{share}, {time_left_text((time.monotonic() - self.began) * left / self.done)}"


def _plan_line(planned: Sequence[PlannedCell], work: float, clock: Clock) -> str:
    """Return how many cells there are, and how much of their work the store holds."""
    held = f"; {clock.progress_text()} is in the store" if clock.made else ""
    return format_count(len(planned), "cell") + (held if work else "; all is in the store")


def time_left_text(seconds: float) -> str:
    """Return a time as a reader says it."""
    return f"about {seconds / 60:.0f} min left" if seconds >= MINUTES_THRESHOLD else f"about {seconds:.0f} s left"


class LogLines:
    """Plain lines, for a log."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.clock = stream, Clock(0)

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()

    def on_plan(self, planned: Sequence[PlannedCell], work: float, made: float) -> None:
        """See `Shown`."""
        self.clock = Clock(work, made)
        self._line(_plan_line(planned, work, self.clock))

    def on_event(self, event: Event) -> None:
        """See `Shown`."""
        share = self.clock.advance(event)
        self._line(f"[{share}] {event.cell}: {event.text}")

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """See `Shown`."""
        self._line(outcome_line(outcome))
        if outcome.trace:
            self._line(outcome.trace)

    def close(self) -> None:
        """See `Shown`."""


class ProgressBar:
    """One bar with the time left, the finished cells above it, for a terminal."""

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
        """See `Shown`."""
        self.clock = Clock(work, made)
        self.progress.console.print(_plan_line(planned, work, self.clock))
        if work:
            self.progress.start()
            self.task = self.progress.add_task("", total=work + made, share=self.clock.progress_text())
            self.progress.update(self.task, completed=made)

    def on_event(self, event: Event) -> None:
        """See `Shown`."""
        if self.task is not None:
            share = self.clock.advance(event)
            self.progress.update(self.task, advance=event.work, share=share, description=f"{event.cell}: {event.text}")

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """See `Shown`."""
        self.progress.console.print(
            outcome_line(outcome), markup=False, soft_wrap=True, style="red" if outcome.error else None
        )
        if outcome.trace:
            self.progress.console.print(outcome.trace, markup=False)

    def close(self) -> None:
        """See `Shown`."""
        if self.task is not None:
            self.progress.update(self.task, completed=self.clock.whole, share="100 %", description="")
        self.progress.stop()


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def _line(self, kind: str, **content: object) -> None:
        self.stream.write(json.dumps({"event": kind, **content}) + "\n")
        self.stream.flush()

    def on_plan(self, planned: Sequence[PlannedCell], work: float, made: float) -> None:
        """See `Shown`."""
        self._line("begun", cells=[p.cell.label for p in planned], work=work, made=made)

    def on_event(self, event: Event) -> None:
        """See `Shown`."""
        self._line(event.kind, cell=event.cell, text=event.text, work=event.work)

    def on_cell_end(self, outcome: CellOutcome) -> None:
        """See `Shown`."""
        rows = [dataclasses.asdict(r) for r in outcome.rows]
        self._line("failed" if outcome.error else "done", cell=outcome.cell, error=outcome.error, rows=rows)

    def close(self) -> None:
        """See `Shown`."""
        self._line("closed")


def progress_display(stream: TextIO, *, as_json: bool) -> ProgressDisplay:
    """Return how to show a run on this stream."""
    if as_json:
        return JsonLines(stream)
    return ProgressBar(stream) if stream.isatty() else LogLines(stream)
