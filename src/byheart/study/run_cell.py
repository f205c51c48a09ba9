"""Run one cell: train, observe, attack, measure. Stored results are not computed again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from byheart.core.adversary import adversary, default_adversary_label
from byheart.core.config import Machine
from byheart.core.dependencies import depends_on
from byheart.core.registry import Choice, key_of
from byheart.core.split import PlantedCanaries
from byheart.core.types import Row
from byheart.store.rows import read_rows
from byheart.store.store import Store
from byheart.study.cell_rows import cell_labels, cell_rows
from byheart.study.checkpoints import check_precision
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import BASE, ModelState
from byheart.study.planned_cell import PlannedCell
from byheart.study.progress_events import ProgressCallback
from byheart.study.remaining_work import missing_evidence
from byheart.study.shadow_models import shadow_cells
from byheart.study.train_and_observe import observe

ROWS_REVISION = 2
"""Raised when the content of rows changes, so that rows are measured again from stored evidence. 2: canaries' costs."""


def run_cell(planned: PlannedCell, store: Store, machine: Machine, on_event: ProgressCallback) -> tuple[str, list[Row]]:
    """Return a cell's rows and their key in the store, after computing all missing results.

    Raises `CellError` or `RequestError` if the cell cannot be computed.
    """
    for cell in (planned, *shadow_cells(planned)):
        check_precision(cell, store, machine)
    if needs_shadows(missing_evidence(planned, store)):
        observe_base(planned, store, machine, on_event)
        for shadow in shadow_cells(planned):
            run_shadow(shadow, store, machine, on_event)
    _train_and_observe(planned, store, machine, on_event)
    recipe = _rows_recipe(planned)

    def make(folder: Path) -> None:
        rows = [dataclasses.asdict(r) for r in cell_rows(planned, store)]
        (folder / "rows.json").write_text(json.dumps(rows, allow_nan=False))

    key = key_of(recipe)
    rows = read_rows(store.get_or_make("rows", key, recipe, make))
    if not all(store.has("scores", scores) for scores in {row.scores for row in rows} - {""}):
        # A person removed damaged scores: measuring the rows again makes what is missing.
        store.drop("rows", key)
        rows = read_rows(store.get_or_make("rows", key, recipe, make))
    return key, rows


def rows_key(planned: PlannedCell) -> str:
    """Return the key of the cell's rows."""
    return key_of(_rows_recipe(planned))


def needs_shadows(missing: Mapping[ModelState, tuple[Choice, ...]]) -> bool:
    """Whether missing evidence reads the passes of shadow models."""
    return any("shadow_passes" in o.needs for observations in missing.values() for o in observations)


def base_observations(planned: PlannedCell, observations: Iterable[Choice]) -> tuple[Choice, ...]:
    """Return the observations of the base model that can be made before the shadow models are trained."""
    return tuple(o for o in observations if not depends_on("shadow_passes", o, planned.observations))


def observe_base(planned: PlannedCell, store: Store, machine: Machine, on_event: ProgressCallback) -> None:
    """Make the missing evidence of the base model that needs no shadow model: its errors occur before many trainings."""
    for cell in (planned, *shadow_cells(planned)):
        check_precision(cell, store, machine)
    observations = base_observations(planned, missing_evidence(planned, store).get(BASE, ()))
    if observations:
        observe(planned, {BASE: observations}, store, machine, on_event, base_only=True)


def run_shadow(shadow: PlannedCell, store: Store, machine: Machine, on_event: ProgressCallback) -> None:
    """Train and observe a shadow model, as far as its results are missing."""
    check_precision(shadow, store, machine)
    _train_and_observe(shadow, store, machine, on_event)


def _train_and_observe(planned: PlannedCell, store: Store, machine: Machine, on_event: ProgressCallback) -> None:
    missing = missing_evidence(planned, store)
    required = (("training", planned.key), ("tokens", key_of(planned.tokens_recipe("audited"))))
    if missing or not all(store.has(stage, key) for stage, key in required):
        observe(planned, missing, store, machine, on_event)


def _rows_recipe(planned: PlannedCell) -> dict[str, Any]:
    """Return everything that determines the cell's rows."""
    evidence = {evidence_key(planned, o, s) for o in planned.observations for s in planned.states}
    return {
        "cell": planned.recipe,
        "evidence": sorted(evidence),
        "attacks": [a.recipe for a in planned.attacks],
        "metrics": [m.recipe for m in planned.metrics],
        "audit": [planned.split.audited.digest, key_of({"groups": planned.split.groups})],
        "labels": cell_labels(planned),
        "counts": dict(planned.split.counts),
        **_canary_recipe(planned.split.planted),
        **({"search": [t._asdict() for t in planned.tried]} if planned.tried else {}),
        **_adversary_recipe(planned),
        "revision": ROWS_REVISION,
    }


def _adversary_recipe(planned: PlannedCell) -> dict[str, Any]:
    """Return the adversaries that differ from those of default observations, so that all other rows keep their key."""
    labels = {a.name: adversary(a, planned.observations).label for a in planned.attacks}
    changed = {name: label for name, label in labels.items() if label != default_adversary_label(name)}
    return {"adversaries": changed} if changed else {}


def _canary_recipe(planted: PlantedCanaries | None) -> dict[str, Any]:
    """Return the part of the recipe that only canaries add, so that rows without canaries keep their key."""
    if planted is None:
        return {}
    labels = [planted.included, planted.repetitions, planted.kinds, planted.coin, planted.reference_kinds]
    return {"canaries": key_of({"texts": planted.texts.digest, "labels": labels})}
