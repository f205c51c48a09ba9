"""How a study's numbers came about, as its page says last: what runs it again, its settings, versions, hardware."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from byheart.store.rows import study_notes
from byheart.store.store import Store


def run_details(store: Store, study: str | None) -> dict[str, str]:
    """Return, by name, how the numbers of a study, or of every study, were made."""
    noted = {n: s for n, s in study_notes(store).items() if study in {None, n}}
    told: dict[str, str] = {}
    for name, held in noted.items():
        there, all_cells = sum(store.has("rows", k) for k in held["rows"]), len(held["cells"])
        told[f"study {name}"] = f"{all_cells} cells, finished {held['at']}"
        if there < all_cells:
            told[f"study {name}"] = f"{there} of {all_cells} cells are made, the last at {held['at']}"
        # Notes of byheart's first stores hold neither.
        again = {"command": held.get("command", ""), "settings as given": held.get("written", "")}
        told |= {f"{what} ({name})": words for what, words in again.items() if words}
        for what in ("attacks", "metrics"):
            told[f"{what} ({name})"] = "; ".join(_recipe_text(c) for c in held[what])
        told[f"scoring ({name})"] = json.dumps(held["scoring"])
        told[f"machine ({name})"] = json.dumps(held["machine"])
        told |= {f"failed: {cell}": error for cell, error in held["failed"].items()}
        made = list(_cell_provenance(store, held["rows"]))
        if made:
            told["byheart revision"] = made[0]["revision"] + (" (with uncommitted changes)" if made[0]["dirty"] else "")
            told["versions"] = ", ".join(f"{n} {v}" for n, v in made[0]["versions"].items())
            machines = dict.fromkeys(", ".join(f"{n} {v}" for n, v in m["machine"].items()) for m in made)
            told["hardware"] = "; ".join(machines)
    return told


def _cell_provenance(store: Store, rows: list[str]) -> Iterator[dict[str, Any]]:
    """Yield how the rows of each cell and its weights were made, so far as they are there."""
    for key in (k for k in rows if store.has("rows", k)):
        held = store.recipe("rows", key)
        yield held["made"]
        weights = held["recipe"].get("labels", {}).get("cell", "")
        if weights and store.has("training", weights):
            yield store.recipe("training", weights)["made"]


def _recipe_text(recipe: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{n}={v}" for n, v in recipe["settings"].items())
    return f"{recipe['name']} ({settings})" if settings else recipe["name"]
