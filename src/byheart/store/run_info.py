"""Provenance section of the report: the command of a study, its settings, versions and hardware."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from byheart.core.json_shapes import as_declared
from byheart.store.result_files import damaged_result_error
from byheart.store.rows import study_notes
from byheart.store.store import Store


@dataclass(frozen=True)
class Made:
    """The fields of a result's provenance that the page shows."""

    revision: str
    dirty: bool
    versions: dict[str, str]
    machine: dict[str, Any]


def unfinished_studies(store: Store, study: str | None) -> list[str]:
    """Return "NAME: 3 of 6 cells are finished" for each study that is not complete: the named one, or all."""
    counts = {name: _finished_cells(store, n) for name, n in study_notes(store).items() if study in {None, name}}
    return [f"{name}: {done} of {cells} cells are finished" for name, (done, cells) in counts.items() if done < cells]


def _finished_cells(store: Store, note: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of a study's finished cells, and of all its cells."""
    return sum(store.has("rows", key) for key in note["rows"]), len(note["cells"])


def run_details(store: Store, study: str | None) -> dict[str, str]:
    """Return provenance by label for a study, or for every study."""
    notes = {name: note for name, note in study_notes(store).items() if study in {None, name}}
    details: dict[str, str] = {}
    for name, note in notes.items():
        finished, cells = _finished_cells(store, note)
        details[f"study {name}"] = f"{cells} cells, finished {note['at']}"
        if finished < cells:
            details[f"study {name}"] = f"{finished} of {cells} cells finished, the last at {note['at']}"
        # Notes of the oldest stores have neither.
        inputs = {"command": note.get("command", ""), "settings as written": note.get("written", "")}
        details |= {f"{label} ({name})": text for label, text in inputs.items() if text}
        for shelf in ("attacks", "metrics"):
            details[f"{shelf} ({name})"] = "; ".join(_recipe_text(c) for c in note[shelf])
        details[f"scoring ({name})"] = json.dumps(note["scoring"])
        details[f"machine ({name})"] = json.dumps(note["machine"])
        details |= {f"failed: {cell}": error for cell, error in note["failed"].items()}
        made = list(_cell_provenance(store, note["rows"]))
        if made:
            is_dirty = made[0]["dirty"]
            details["byheart revision"] = made[0]["revision"] + (" (with uncommitted changes)" if is_dirty else "")
            details["versions"] = ", ".join(f"{n} {v}" for n, v in made[0]["versions"].items())
            machines = dict.fromkeys(", ".join(f"{n} {v}" for n, v in m["machine"].items()) for m in made)
            details["hardware"] = "; ".join(machines)
    return details


def _cell_provenance(store: Store, rows: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the provenance of each cell's rows and of its weights, if they are stored."""
    for key in (k for k in rows if store.has("rows", k)):
        yield _made(store, "rows", key)
        labels = store.recipe("rows", key)["recipe"].get("labels")
        weights = labels.get("cell") if isinstance(labels, dict) else None
        if isinstance(weights, str) and weights and store.has("training", weights):
            yield _made(store, "training", weights)


def _made(store: Store, stage: str, key: str) -> dict[str, Any]:
    """Return a result's provenance; raises `StoreError` if it was edited."""
    made = store.recipe(stage, key)["made"]
    try:
        as_declared(Made, made)
    except ValueError as error:
        raise damaged_result_error(store.folder(stage, key), error) from error
    return made


def _recipe_text(recipe: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{n}={v}" for n, v in recipe["settings"].items())
    return f"{recipe['name']} ({settings})" if settings else recipe["name"]
