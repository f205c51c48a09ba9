"""Search of learning rates: every tried rate is the training of an ordinary cell, scored on selection texts only.

Half of the validation texts, by whole groups, select the rate; the other half gives the reported perplexity. So no choice is
made on texts of a reported number, and no attack reads the selection texts. The rate is chosen by the perplexity after the
last epoch: the verdicts are about that model, and the schedule ends there (an earlier epoch of a long schedule is not the model
of a short one). The first training seed searches, and all seeds use its choice, so that they are seeds of one setting.

A trial has the key of the cell with its rate, so that an interrupted trial resumes. It stores its perplexity, not its weights:
the chosen cell is trained again, because every epoch is attacked while its model exists.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from byheart.core.config import Machine
from byheart.core.errors import CellError, DataError, TrainingError
from byheart.core.registry import Choice, choose, key_of
from byheart.core.split import Split
from byheart.core.types import NO_TEXTS
from byheart.metrics.perplexity import perplexity
from byheart.store.result_files import read_json
from byheart.store.store import Store
from byheart.study.checkpoints import check_precision
from byheart.study.evidence_keys import evidence_key, evidence_recipe
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import ProgressCallback
from byheart.study.searched_rates import TriedRate, best_rate
from byheart.study.stored_evidence import read_evidence
from byheart.study.train_and_observe import observe

STAGE = "trials"
"""Stage of the store with the perplexity of each tried rate."""


def with_selection_texts(split: Split) -> Split:
    """Return the split with half of its validation texts, by whole groups, set aside for the search.

    Raises `DataError` for validation texts of one group.
    """
    groups = split.validation_groups
    names = list(dict.fromkeys(groups))
    if len(names) < 2:  # noqa: PLR2004 - one group for each half
        raise DataError(
            f"data.validation: {len(groups)} validation texts in {len(names)} group cannot be halved, and a search of the "
            "learning rate needs half of them. Set data.validation to twice the number."
        )
    rng = np.random.default_rng(int(key_of({"selection": split.validation.digest}), 16))
    selected: set[str] = set()
    for name in (names[i] for i in rng.permutation(len(names))[:-1]):
        if 2 * sum(g in selected for g in groups) < len(groups):
            selected.add(name)
    selection, rest = ([i for i, g in enumerate(groups) if (g in selected) == kind] for kind in (True, False))
    return dataclasses.replace(
        split,
        validation=split.validation.take(rest),
        validation_groups=tuple(groups[i] for i in rest),
        validation_attributes=tuple(split.validation_attributes[i] for i in rest if split.validation_attributes),
        selection=split.validation.take(selection),
        selection_groups=tuple(groups[i] for i in selection),
    )


def resolve_searches(planned: Iterable[PlannedCell], store: Store) -> tuple[PlannedCell, ...]:
    """Return the cells; a cell whose search has ended has the chosen rate as a setting of its method, and the tried rates.

    A cell without a search that has the chosen rate is the same model, and is left out.
    """
    resolved: list[PlannedCell] = []
    cells = tuple(planned)
    for cell in cells:
        tried = () if cell.cell.search is None or cell.tried else _tried_rates(_searching_cell(cell, cells), store)
        best = best_rate(tried or ())
        if tried is None or best is None:
            resolved.append(cell)
        else:
            chosen = dataclasses.replace(cell.cell, method=_with_rate(cell.cell.method, best.rate))
            resolved.append(dataclasses.replace(cell, cell=chosen, tried=tried))
    distinct: dict[object, PlannedCell] = {}
    for cell in sorted(resolved, key=lambda p: not p.tried):
        # A search that has ended does not distinguish a cell: its rate is a setting of the method.
        found = dataclasses.replace(cell.cell, search=None) if cell.tried else cell.cell
        distinct.setdefault(found.identity, cell)
    kept = set(distinct.values())
    return tuple(cell for cell in resolved if cell in kept)


def unresolved(planned: Iterable[PlannedCell]) -> list[PlannedCell]:
    """Return the cells whose learning rate is not chosen yet."""
    return [p for p in planned if p.cell.search is not None and not p.tried]


def all_trials(planned: Sequence[PlannedCell], store: Store) -> list[PlannedCell]:
    """Return the trials of every search so far, stored or not, each once."""
    trials = (t for cell in planned for t in trials_of(cell, planned, store))
    return list({trial_key(t): t for t in trials}.values())


def trials_of(cell: PlannedCell, planned: Sequence[PlannedCell], store: Store) -> list[PlannedCell]:
    """Return the trials so far of the search of one of the planned cells; [] without a search."""
    if cell.cell.search is None:
        return []
    searching = _searching_cell(cell, planned)
    return [_trial(searching, rate) for rate in _rates(searching, store)]


def pending_trials(planned: Sequence[PlannedCell], store: Store) -> list[PlannedCell]:
    """Return the trials that the store lacks, each once; after them a search can need further trials."""
    return [t for t in all_trials(planned, store) if not store.has(STAGE, trial_key(t))]


def with_pending_trials(planned: Sequence[PlannedCell], store: Store) -> tuple[PlannedCell, ...]:
    """Return the trials that the searches of these cells still need, then the cells: what a run has to do."""
    return (*pending_trials(planned, store), *planned)


def run_trial(trial: PlannedCell, store: Store, machine: Machine, on_event: ProgressCallback) -> str:
    """Train with the trial's rate and store its perplexity on the selection texts; return it as a text.

    Training that diverges is a result. Raises `CellError` or `RequestError` if the trial cannot be computed.
    """
    check_precision(trial, store, machine)
    (observation,), (state,) = trial.observations, trial.states
    evidence, groups = evidence_key(trial, observation, state), trial.split.validation_groups

    def make(folder: Path) -> None:
        (folder / "trial.json").write_text(json.dumps(result._asdict(), allow_nan=False))

    key = trial_key(trial)
    if not store.has(STAGE, key):
        rate = float(trial.cell.method.settings["learning_rate"])
        result = TriedRate(rate, None, None, None, len(groups))
        try:
            if not store.has("evidence", evidence):
                observe(trial, {state: (observation,)}, store, machine, on_event)
        except TrainingError:
            pass
        else:
            result = _scored(result, trial, store)
        recipe = {"evidence": evidence_recipe(trial, observation, state), "groups": key_of({"groups": groups})}
        store.get_or_make(STAGE, key, recipe, make)
    perplexity_found = _read(trial, store).perplexity
    return "training diverged" if perplexity_found is None else f"selection perplexity {perplexity_found:.2f}"


def _scored(result: TriedRate, trial: PlannedCell, store: Store) -> TriedRate:
    """Return the result with the perplexity of the selection texts, unless it is not finite."""
    (observation,), (state,) = trial.observations, trial.states
    try:
        estimate = perplexity(read_evidence(trial, store, observation, state), trial.split.validation_groups)
    except CellError:
        return result
    return result._replace(perplexity=estimate.value, low=estimate.low, high=estimate.high)


def _searching_cell(cell: PlannedCell, planned: Sequence[PlannedCell]) -> PlannedCell:
    """Return the cell of the first training seed, whose texts and seed the trials have."""

    def identity(p: PlannedCell) -> tuple[object, ...]:
        c = p.cell
        settings = {n: v for n, v in c.method.non_default_settings.items() if n != "learning_rate"}
        method = key_of({"name": c.method.name, "settings": settings})
        return c.base, c.dataset.key, c.data, method, c.training, c.search

    search = cell.cell.search
    return next((p for p in planned if search and identity(p) == identity(cell) and p.cell.seed == search.seed), cell)


def _rates(cell: PlannedCell, store: Store) -> tuple[float, ...]:
    """Return the rates to try so far: the grid, and its extension if the grid's best rate is an end."""
    search = cell.cell.search
    if search is None:
        return ()
    tried = [_read(t, store) for r in search.rates if store.has(STAGE, trial_key(t := _trial(cell, r)))]
    return (*search.rates, *(search.extension(tried) if len(tried) == len(search.rates) else ()))


def _tried_rates(cell: PlannedCell, store: Store) -> tuple[TriedRate, ...] | None:
    """Return the results of every rate to try, by rate; None until all are stored."""
    trials = [_trial(cell, rate) for rate in sorted(_rates(cell, store))]
    return tuple(_read(t, store) for t in trials) if all(store.has(STAGE, trial_key(t)) for t in trials) else None


def _read(trial: PlannedCell, store: Store) -> TriedRate:
    return TriedRate(**read_json(store.folder(STAGE, trial_key(trial)) / "trial.json"))


def trial_key(trial: PlannedCell) -> str:
    """Return the key of a trial's result."""
    (observation,), (state,) = trial.observations, trial.states
    return key_of({"evidence": evidence_key(trial, observation, state), "groups": trial.split.validation_groups})


def _with_rate(method: Choice, rate: float) -> Choice:
    return dataclasses.replace(method, explicit_settings={**method.explicit_settings, "learning_rate": rate})


def _trial(planned: PlannedCell, rate: float) -> PlannedCell:
    """Return the trial of a rate. It has training and selection texts only: no audited text, and no membership."""
    cell, split = planned.cell, planned.split
    last = dataclasses.replace(cell.training, observe=(float(cell.training.epochs),))
    return dataclasses.replace(
        planned,
        cell=dataclasses.replace(cell, method=_with_rate(cell.method, rate), training=last, search=None),
        split=Split(
            train=planned.texts["train"],
            members=(),
            nonmembers=NO_TEXTS,
            validation=split.selection,
            member_groups=(),
            nonmember_groups=(),
            counts={},
            validation_groups=split.selection_groups,
        ),
        attacks=(),
        metrics=(),
        observations=(choose("observations", "validation"),),
        texts={"train": planned.texts["train"], "validation": split.selection},
        tried=(),
        is_trial=True,
    )
