"""Run a study from end to end, for the command line and for Python. Prints nothing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.analysis.paper_values import stored_published_values
from byheart.core.atomic_file import atomic_write
from byheart.core.errors import SettingError, StoreError
from byheart.core.registry import Choice, choose
from byheart.core.types import Row
from byheart.store.paced_writer import PacedWriter
from byheart.store.rows import read_gates, score_reader, study_notes, study_rows, validation_loss_reader
from byheart.store.run_info import run_details
from byheart.store.store import Store
from byheart.study.cell_models import processes_of
from byheart.study.checkpoints import drop_states_of_stored_trainings
from byheart.study.estimate import check_device_and_bases, check_method_packages
from byheart.study.learning_rate_search import all_trials, with_pending_trials
from byheart.study.memory_estimate import check_fits
from byheart.study.overrides import as_yaml
from byheart.study.plan import plan
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.remaining_work import remaining_work_by_cell
from byheart.study.run_searches import run_searches
from byheart.study.sharded_study import follow, leading
from byheart.study.split_checks import SplitGate, split_gates
from byheart.study.study_file import Study, parse_study, read_study
from byheart.study.workers import CellCallback, CellOutcome, check_executor, run_cells

if TYPE_CHECKING:
    from byheart.report.exhibits import ReportContent
    from byheart.report.summary import Summary


@dataclass(frozen=True)
class Results:
    """Results of a study: its rows, and the outcome of each cell (`failed`: those with an error)."""

    rows: tuple[Row, ...]
    outcomes: tuple[CellOutcome, ...]

    def __repr__(self) -> str:
        """Return the counts only: the rows of a study would fill many screens."""
        return f"Results({len(self.rows)} rows of {len(self.outcomes)} cells, {len(self.failed)} failed)"

    @property
    def failed(self) -> tuple[CellOutcome, ...]:
        """The cells with an error."""
        return tuple(o for o in self.outcomes if o.error)


def _ignore_event(_: object) -> None:
    pass


def run(
    study: Study | Path | str | Mapping[str, Any],
    *,
    store: Store | Path | str = "store",
    tell: ProgressCallback = _ignore_event,
    finished: CellCallback = _ignore_event,
    begun: Callable[[Sequence[PlannedCell], float, float], None] | None = None,
) -> Results:
    """Check a study's splits; train, attack and measure every cell; store the results.

    `study` is a `Study`, a file's path, or its content. Reports an unfair split but continues. `tell` receives the steps
    inside cells, `finished` each cell's outcome. `begun` is called after planning, with the remaining work and the work
    that is already stored. Of the processes of a launch that share each model's weights, only the first returns results.

    Raises `RequestError` for an invalid request; `Results.failed` has the cells that fail.
    """
    parsed_study = _as_study(study)
    if parsed_study.machine.executor == "slurm":
        raise SettingError(
            "machine.executor = slurm: byheart.run waits for results, and Slurm jobs do not. "
            "Submit them: byheart run STUDY.yaml --executor slurm"
        )
    check_executor(parsed_study.machine)
    open_store = store if isinstance(store, Store) else Store.open(Path(store))
    if not processes_of(parsed_study.machine).is_first:
        follow(open_store, parsed_study.machine)
        return Results((), ())
    with leading(parsed_study.machine):
        return _run(parsed_study, open_store, tell, finished, begun)


def _run(
    parsed_study: Study,
    open_store: Store,
    tell: ProgressCallback,
    finished: CellCallback,
    begun: Callable[[Sequence[PlannedCell], float, float], None] | None,
) -> Results:
    drop_states_of_stored_trainings(open_store)
    planned = plan(parsed_study, open_store)
    with_trials = with_pending_trials(planned, open_store)
    remaining = remaining_work_by_cell(with_trials, open_store)
    check_device_and_bases(parsed_study.machine, with_trials, remaining)
    check_method_packages(with_trials, remaining)
    check_fits(parsed_study.machine, with_trials, remaining)
    if begun is not None:
        total = sum(remaining_work_by_cell((*all_trials(planned, open_store), *planned), None))
        begun(planned, sum(remaining), total - sum(remaining))
    gates = split_gates(planned, open_store)
    for gate in gates:
        tell(Event("begin", gate.name, f"split check of members and non-members: {gate.gate.verdict}"))
    _store_study(open_store, parsed_study, planned, gates, ())
    planned, failed_searches = run_searches(
        planned, open_store, parsed_study.machine, tell, finished, study=parsed_study.name
    )
    ended: list[CellOutcome] = []

    # Written while cells run, so that a stopped or running study can be reported.
    with PacedWriter(lambda: _store_study(open_store, parsed_study, planned, gates, ended)) as note:

        def end_cell(outcome: CellOutcome) -> None:
            ended.append(outcome)
            note.change()
            finished(outcome)

        for outcome in failed_searches.values():
            end_cell(outcome)
        to_run = [p for p in planned if p not in failed_searches]
        trained = iter(run_cells(to_run, open_store, parsed_study.machine, tell, end_cell, study=parsed_study.name))
    outcomes = [failed_searches.get(p) or next(trained) for p in planned]
    _store_study(open_store, parsed_study, planned, gates, outcomes)
    return Results(tuple(r for o in outcomes for r in o.rows), tuple(outcomes))


def _as_study(study: Study | Path | str | Mapping[str, Any]) -> Study:
    if isinstance(study, Study):
        return study
    return read_study(Path(study)) if isinstance(study, str | Path) else parse_study(study)


def _store_study(
    store: Store,
    study: Study,
    planned: Sequence[PlannedCell],
    gates: Sequence[SplitGate],
    outcomes: Sequence[CellOutcome],
) -> None:
    """Store which rows and gates belong to the study; before a cell has ended, keep the rows of an earlier run."""
    before = study_notes(store).get(study.name, {"rows": []})
    store.note(
        "studies",
        study.name,
        {
            "rows": [o.key for o in outcomes if o.key] or before["rows"],
            "gates": [{"dataset": g.dataset, "dataset_settings": g.settings, "key": g.key} for g in gates],
            "failed": {o.cell: o.error for o in outcomes if o.error},
            "cells": [p.recipe for p in planned],
            "attacks": [a.recipe for a in study.attacks],
            "metrics": [m.recipe for m in study.metrics],
            "tables": [{"name": t.name, "settings": dict(t.explicit_settings)} for t in study.tables],
            "figures": [{"name": f.name, "settings": dict(f.explicit_settings)} for f in study.figures],
            "scoring": dataclasses.asdict(study.scoring),
            "machine": dataclasses.asdict(study.machine),
            "published": [dataclasses.asdict(p) for p in study.published],
            "command": study.command,
            "written": as_yaml(study.content) if study.content else "",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )


def report_page(
    store: Store, study: str | None, output: Path, *, show_text: bool = False, show_private: bool = False
) -> Path:
    """Write a study's report page and return its path. `show_text` adds the texts of the most exposed records.

    `show_private` leaves private values in the texts unmasked. Raises `RequestError` without rows, or if the page cannot
    be written.
    """
    from byheart.report.page import report  # imported late: only reports need the plotting packages

    title = study or ", ".join(study_notes(store))
    content, choices = report_content(store, study), _selected_shelf_choices(store, study)
    if show_text:
        from byheart.study.exposed_texts import token_view_reader

        content = content._replace(texts=token_view_reader(store, study, show_private=show_private))
    page = report(
        content, title=title, provenance=run_details(store, study), tables=choices["tables"], figures=choices["figures"]
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"report {output}: cannot be written ({error.strerror}). Choose another path with -o."
        ) from error
    return output


def study_summary(store: Store, study: str | None) -> Summary:
    """Return the two-page summary of a study, from the content of its page; raises `RequestError` without rows."""
    from byheart.report.summary import study_summary as summarize  # as in `report_page`

    title, choices = study or ", ".join(study_notes(store)), _selected_shelf_choices(store, study)
    content, details = report_content(store, study), run_details(store, study)
    return summarize(content, title=title, provenance=details, tables=choices["tables"], figures=choices["figures"])


def export_folder(store: Store, study: str | None, folder: Path) -> list[Path]:
    """Write a study's tables and figures in every format to a folder and return their paths.

    Raises `RequestError` without rows, or if the folder cannot be written.
    """
    from byheart.report.export import export  # as in `report_page`

    try:
        return export(folder, report_content(store, study), **_selected_shelf_choices(store, study))
    except OSError as error:
        raise StoreError(f"folder {folder}: cannot be written ({error.strerror}). Choose another folder.") from error


def report_content(store: Store, study: str | None) -> ReportContent:
    """Return the inputs of a study's tables, figures and page; raises the errors of `rows.study_rows`."""
    from byheart.report.exhibits import ReportContent

    return ReportContent(
        study_rows(store, study),
        score_reader(store),
        read_gates(store, study),
        validation_loss_reader(store, study),
        stored_published_values(store, study),
    )


def _selected_shelf_choices(store: Store, study: str | None) -> dict[str, list[Choice]]:
    """Return the tables and figures that the study file names."""
    notes = [note for name, note in study_notes(store).items() if study in {None, name}]
    return {
        shelf: [choose(shelf, entry["name"], entry["settings"]) for note in notes for entry in note[shelf]]
        for shelf in ("tables", "figures")
    }


__all__ = ["Event", "Results", "report_page", "run"]
