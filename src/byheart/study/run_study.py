"""Run a study from end to end, for the command line and for Python. Prints nothing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byheart.core.errors import SettingError
from byheart.core.types import Row
from byheart.store.listed_results import ListedResults
from byheart.store.paced_writer import PacedWriter
from byheart.store.rows import study_notes
from byheart.store.store import Store
from byheart.study.cell_models import processes_of
from byheart.study.checkpoints import drop_states_of_stored_trainings
from byheart.study.estimate import check_device_and_bases, check_method_packages
from byheart.study.learning_rate_search import all_trials, with_pending_trials
from byheart.study.memory_estimate import check_fits
from byheart.study.overrides import as_yaml
from byheart.study.plan import plan
from byheart.study.planned_cell import PlannedCell
from byheart.study.planned_inputs import check_inputs
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.remaining_work import remaining_work_by_cell
from byheart.study.run_cells import CellCallback, CellOutcome, check_executor, run_cells
from byheart.study.run_searches import run_searches
from byheart.study.sharded_study import follow, leading
from byheart.study.split_checks import SplitGate, split_gates
from byheart.study.study_file import Study, parse_study, read_study
from byheart.study.task_share import Share


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
        return _run(parsed_study, open_store, tell, finished, begun, Share())


def run_share(study: Study, store: Store, share: Share, *, tell: ProgressCallback) -> tuple[CellOutcome, ...]:
    """Run a study as one of several workers, beginning with its share, until all cells have ended; return the failed ones.

    Raises `StoreError` on a host that reads other model files or data than the `share` says.
    """
    return _run(study, store, tell, _ignore_event, None, share).failed


def _run(
    parsed_study: Study,
    open_store: Store,
    tell: ProgressCallback,
    finished: CellCallback,
    begun: Callable[[Sequence[PlannedCell], float, float], None] | None,
    share: Share,
) -> Results:
    drop_states_of_stored_trainings(open_store)
    planned = plan(parsed_study, open_store)
    if share.inputs:
        check_inputs(planned, share.inputs, open_store.root)
    with_trials = with_pending_trials(planned, open_store)
    remaining = remaining_work_by_cell(with_trials, ListedResults(open_store))
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
        planned, open_store, parsed_study.machine, tell, finished, study=parsed_study.name, share=share
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
        cell_outcomes = run_cells(
            to_run, open_store, parsed_study.machine, tell, end_cell, study=parsed_study.name, share=share
        )
        trained = iter(cell_outcomes)
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


__all__ = ["Event", "Results", "run"]
