"""A study from end to end, as the command line and Python both call it. Nothing is printed here."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.analysis.paper_values import stored_published_values
from byheart.core.atomic_file import atomic_write
from byheart.core.errors import StoreError
from byheart.core.registry import Choice, choose
from byheart.core.types import Row
from byheart.store.rows import read_gates, score_reader, study_notes, study_rows, validation_loss_reader
from byheart.store.run_info import run_details
from byheart.store.store import Store
from byheart.study.estimate import check_device_and_bases, check_method_packages
from byheart.study.overrides import as_yaml
from byheart.study.plan import plan, remaining_work_by_cell
from byheart.study.planned_cell import PlannedCell
from byheart.study.split_checks import SplitGate, split_gates
from byheart.study.study_file import Study, read_study
from byheart.study.study_file import parse_study as parsed
from byheart.study.train_and_observe import Event, ProgressCallback
from byheart.study.workers import CellCallback, CellOutcome, run_cells

if TYPE_CHECKING:
    from byheart.report.page import ReportContent


@dataclass(frozen=True)
class Results:
    """What a study gave: its rows, and what became of each cell (`failed` are those with an error)."""

    rows: tuple[Row, ...]
    outcomes: tuple[CellOutcome, ...]

    def __repr__(self) -> str:
        """Say how much there is: a study's rows would fill many screens."""
        return f"Results({len(self.rows)} rows of {len(self.outcomes)} cells, {len(self.failed)} failed)"

    @property
    def failed(self) -> tuple[CellOutcome, ...]:
        """The cells that could not be made."""
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
    """Judge a study's data, train, attack and measure every cell, and note it in the store.

    `study` is a `Study`, a file's path, or its content. A broken comparison is told and no reason to stop. `begun` is
    called once the plan stands, with the work that is left and the work that the store holds.

    Raises `RequestError` for a request that is wrong; a cell that fails is in `Results.failed`.
    """
    whole = _as_study(study)
    kept = store if isinstance(store, Store) else Store.open(Path(store))
    planned = plan(whole, kept)
    left = remaining_work_by_cell(planned, kept)
    check_device_and_bases(whole.machine, planned, left)
    check_method_packages(planned, left)
    if begun is not None:
        begun(planned, sum(left), sum(remaining_work_by_cell(planned, None)) - sum(left))
    gates = split_gates(planned, kept)
    for one in gates:
        tell(Event("begin", one.name, f"the comparison of members with non-members is {one.gate.verdict}"))
    _store_study(kept, whole, planned, gates, ())
    ended: list[CellOutcome] = []

    def noted(outcome: CellOutcome) -> None:
        # At once, so that a run that is stopped, or still running, can be reported as far as it is.
        ended.append(outcome)
        _store_study(kept, whole, planned, gates, ended)
        finished(outcome)

    outcomes = run_cells(planned, kept, whole.machine, tell, noted)
    _store_study(kept, whole, planned, gates, outcomes)
    return Results(tuple(r for o in outcomes for r in o.rows), tuple(outcomes))


def _as_study(study: Study | Path | str | Mapping[str, Any]) -> Study:
    if isinstance(study, Study):
        return study
    return parsed(study) if isinstance(study, Mapping) else read_study(Path(study))


def _store_study(
    store: Store,
    study: Study,
    planned: Sequence[PlannedCell],
    gates: Sequence[SplitGate],
    outcomes: Sequence[CellOutcome],
) -> None:
    """Note in the store which rows and gates belong to the study: those of the cells that have ended, before one has those known."""
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
    """Write a study's page and return its path. `show_text` puts the most exposed records' texts into it.

    `show_private` leaves private values in them. Raises `RequestError` where there is nothing to show or the page cannot be written.
    """
    from byheart.report.page import report  # pictures are drawn only here

    title = study or ", ".join(study_notes(store))
    held, chosen = report_content(store, study), _selected_shelf_choices(store, study)
    if show_text:
        from byheart.study.exposed_texts import token_view_reader

        held = held._replace(texts=token_view_reader(store, study, show_private=show_private))
    page = report(
        held, title=title, provenance=run_details(store, study), tables=chosen["tables"], figures=chosen["figures"]
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output) as aside:
            aside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"report {output} cannot be written ({error.strerror}); choose another place with -o"
        ) from error
    return output


def export_folder(store: Store, study: str | None, folder: Path) -> list[Path]:
    """Write a study's tables and figures in every format into a folder and return their paths.

    Raises `RequestError` where there is nothing to show or the folder cannot be written.
    """
    from byheart.report.export import export  # as in `report_page`

    try:
        return export(folder, report_content(store, study), **_selected_shelf_choices(store, study))
    except OSError as error:
        raise StoreError(f"folder {folder} cannot be written ({error.strerror}); choose another place") from error


def report_content(store: Store, study: str | None) -> ReportContent:
    """Return what tables, figures and the page of a study are made from; raises as `rows.study_rows` does."""
    from byheart.report.page import ReportContent

    return ReportContent(
        study_rows(store, study),
        score_reader(store),
        read_gates(store, study),
        validation_loss_reader(store, study),
        stored_published_values(store, study),
    )


def _selected_shelf_choices(store: Store, study: str | None) -> dict[str, list[Choice]]:
    """Return the tables and figures that a study's file names."""
    noted = [s for n, s in study_notes(store).items() if study in {None, n}]
    return {w: [choose(w, c["name"], c["settings"]) for s in noted for c in s[w]] for w in ("tables", "figures")}


__all__ = ["Event", "Results", "report_page", "run"]
