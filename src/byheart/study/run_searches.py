"""Run the searches of a study's learning rates, before its cells: the trials of all searches, and the extensions of grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byheart.core.config import Machine
from byheart.store.store import Store
from byheart.study.learning_rate_search import pending_trials, resolve_searches, trials_of, unresolved
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import Event, ProgressCallback
from byheart.study.run_cells import CellCallback, CellOutcome, run_cells
from byheart.study.searched_rates import is_end_of_grid
from byheart.study.task_share import Share


def run_searches(
    planned: Sequence[PlannedCell],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    on_trial_end: CellCallback,
    *,
    study: str,
    share: Share,
) -> tuple[tuple[PlannedCell, ...], Mapping[PlannedCell, CellOutcome]]:
    """Return the cells with their chosen rates, and the outcomes of the cells whose search failed.

    Stored trials are not repeated. `on_event`, `on_trial_end`, `study` and `share` are those of `run_cells`.
    """
    resolved, attempted, errors = tuple(planned), set[str](), dict[str, str]()
    while trials := [t for t in pending_trials(resolved, store) if t.key not in attempted]:
        attempted |= {t.key for t in trials}
        outcomes = run_cells(trials, store, machine, on_event, on_trial_end, study=study, share=share)
        errors |= {t.key: o.error for t, o in zip(trials, outcomes, strict=True) if o.error}
        resolved = resolve_searches(resolved, store)
    for cell in resolved:
        if cell.tried:
            on_event(Event("begin", cell.label, choice_text(cell)))
    failed = {
        cell: CellOutcome(
            cell.label, "", (), _failure([errors[t.key] for t in trials_of(cell, resolved, store) if t.key in errors])
        )
        for cell in unresolved(resolved)
    }
    return resolved, failed


def choice_text(cell: PlannedCell) -> str:
    """Return the chosen learning rate, and a warning if no rate beyond it was tried."""
    rate = float(cell.cell.method.settings["learning_rate"])
    text = f"learning rate {rate:g} chosen from {', '.join(f'{t.rate:g}' for t in cell.tried)}"
    if is_end_of_grid(rate, cell.tried):
        text += ". It is at the end of the tried rates: list further ones in training.learning_rate.search"
    return text


def _failure(errors: Sequence[str]) -> str:
    """Return why a search chose no rate."""
    if errors:
        return f"search of the learning rate: {errors[0]}"
    return "search of the learning rate: training diverged at every rate. List lower rates in training.learning_rate.search."
