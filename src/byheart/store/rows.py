"""Read rows, scores, losses and gates from the store: the input of tables, figures and the report. No torch."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byheart.core import ragged
from byheart.core.errors import DataError, SettingError, StoreError, UnknownNameError
from byheart.core.former_names import current_name
from byheart.core.json_shapes import as_declared
from byheart.core.row import is_base_row, rows_from_json, without_initialized
from byheart.core.split_check import Gate
from byheart.core.types import Row, ScoreSet, TextLosses
from byheart.store.former_gate_words import with_current_words
from byheart.store.result_files import Arrays, damaged_result_error, read_arrays, read_json
from byheart.store.store import Store
from byheart.store.study_note import complete_note


def read_rows(folder: Path) -> list[Row]:
    """Return the rows of a cell from their folder; raises `StoreError` if the file is damaged."""
    try:
        return [_with_current_names(row) for row in rows_from_json(read_json(folder / "rows.json"))]
    except ValueError as error:
        raise damaged_result_error(folder, error) from error


def _with_current_names(row: Row) -> Row:
    """Return the row with the current names of metrics and observations."""
    metric = current_name("metrics", row.metric)
    label, equals, name = row.metric_settings.partition("observation=")
    settings = f"{label}{equals}{current_name('observations', name)}" if equals else row.metric_settings
    return dataclasses.replace(row, metric=metric, metric_settings=settings)


def study_notes(store: Store) -> dict[str, dict[str, Any]]:
    """Return the note of each study: its settings, the keys of its rows, the cells that failed.

    Raises `StoreError` for a note that is damaged.
    """
    notes = store.notes("studies")
    try:
        return {name: complete_note(note) for name, note in notes.items()}
    except ValueError as error:
        raise damaged_result_error(store.root / "studies", error) from error


def study_rows(store: Store, name: str | None = None) -> list[Row]:
    """Return the rows of a study, or of every study in the store.

    Raises `UnknownNameError` for an unknown study, `StoreError` for a store without a study or without a finished cell.
    """
    notes = study_notes(store)
    if not notes:
        raise StoreError(f"store {store.root}: contains no study. Run: byheart run STUDY.yaml --store {store.root}")
    if name is not None and name not in notes:
        raise UnknownNameError("study", name, notes)
    keys = _row_keys(store, name)
    if not keys:
        studies = [name] if name else list(notes)
        command = (len(studies) == 1 and notes[studies[0]].get("command")) or "byheart run STUDY.yaml"
        raise StoreError(
            f"store {store.root}: no cell of {', '.join(studies)} is finished. Continue with: {command} --store {store.root}"
        )
    return [row for key in keys for row in read_rows(store.folder("rows", key))]


def filter_rows(rows: Sequence[Row], conditions: Sequence[str]) -> list[Row]:
    """Return the rows that match the conditions `FIELD=VALUE`. Same field: OR; different fields: AND. `FIELD=`: empty value.

    Raises `SettingError` for another format, `UnknownNameError` for a field or a value that no row has, and `DataError` if
    no row matches all conditions.
    """
    values_by_field: dict[str, set[str]] = {}
    for condition in conditions:
        field, equals, value = condition.partition("=")
        if not equals:
            raise SettingError(f"--where {condition}: not a condition. Write FIELD=VALUE, as in --where attack=loss.")
        if field not in _FILTER_FIELDS:
            raise UnknownNameError("field of --where", field, _FILTER_FIELDS)
        present_values = {_field_text(r, field) for r in rows}
        if value not in present_values:
            raise UnknownNameError(f"{field} of --where", value, present_values - {""})
        values_by_field.setdefault(field, set()).add(value)
    matching = [r for r in rows if all(_field_text(r, field) in values for field, values in values_by_field.items())]
    if not matching:
        raise DataError(f"--where {' --where '.join(conditions)}: no row matches all conditions. Remove one.")
    return matching


_FILTER_FIELDS = [f.name for f in dataclasses.fields(Row) if f.name not in {"value", "low", "high", "scores"}]


def _field_text(row: Row, field: str) -> str:
    value = getattr(row, field)
    return "" if value is None else str(value)


def _row_keys(store: Store, name: str | None) -> list[str]:
    keys = dict.fromkeys(k for n, s in study_notes(store).items() if name in {None, n} for k in s["rows"])
    return [key for key in keys if store.has("rows", key)]


def score_reader(store: Store) -> Callable[[str], ScoreSet]:
    """Return a function that reads the score set of a row's `scores` key."""

    @functools.cache
    def look_up(key: str) -> ScoreSet:
        folder = store.folder("scores", key)
        arrays = read_arrays(folder)
        try:
            return _score_set(arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged_result_error(folder, error) from error

    return look_up


def _score_set(arrays: Arrays) -> ScoreSet:
    """Return the score set of stored arrays; raises `KeyError` and `ValueError` for arrays that are missing or do not fit."""
    ids, scores, members = (arrays[name] for name in ("ids", "scores", "members"))
    groups = tuple(arrays["groups"].tolist()) if "groups" in arrays else ()  # the oldest stores have no groups
    per_text = [
        a
        for a in (ids, scores, members, arrays.get("groups"), arrays.get("extracted"), arrays.get("tokens"))
        if a is not None
    ]
    if any(a.shape != (len(ids),) for a in per_text) or scores.dtype.kind != "f" or members.dtype.kind != "b":
        raise ValueError("its arrays do not have one value per text")
    return ScoreSet(tuple(ids.tolist()), scores, members, groups, arrays.get("extracted"), arrays.get("tokens"))


def validation_pass_keys(store: Store, name: str | None = None) -> dict[tuple[str, float], list[str]]:
    """Return the keys of a study's forward passes over validation texts, by cell ("" for the base model) and epoch."""
    keys_by_model: dict[tuple[str, float], list[str]] = {}
    keys = {e for row in _row_keys(store, name) for e in _evidence_keys(store, row)}
    for key in sorted(k for k in keys if store.has("evidence", k)):
        try:
            recipe = store.recipe("evidence", key)["recipe"]
            if recipe["observation"]["name"] == "validation":
                model = recipe["inputs"]["model"]
                keys_by_model.setdefault((model.get("cell", ""), model.get("epoch", 0)), []).append(key)
        except (KeyError, TypeError, AttributeError) as error:
            raise damaged_result_error(store.folder("evidence", key), error) from error
    return keys_by_model


def _evidence_keys(store: Store, row: str) -> list[str]:
    """Return the keys of the evidence that a cell's rows were measured from."""
    try:
        return as_declared(list[str], store.recipe("rows", row)["recipe"].get("evidence"))
    except ValueError as error:
        raise damaged_result_error(store.folder("rows", row), error) from error


def validation_loss_reader(store: Store, name: str | None = None) -> Callable[[Row], TextLosses | None]:
    """Return a function that reads the validation texts' losses of a perplexity row, or None if they are not stored."""
    passes = functools.cache(lambda: validation_pass_keys(store, name))

    def look_up(row: Row) -> TextLosses | None:
        for key in passes().get(("" if is_base_row(row) else row.cell, row.epoch or 0), []):
            arrays = read_arrays(store.folder("evidence", key))
            losses = TextLosses(-ragged.sums(arrays["logp"], arrays["starts"]), ragged.lengths(arrays["starts"]))
            # A cell may be measured on several sets of validation texts; the row's set is the one that gives its value.
            if math.isclose(math.exp(losses.nats.sum() / losses.tokens.sum()), row.value, rel_tol=1e-6):
                return losses
        return None

    return look_up


def read_gates(store: Store, name: str | None = None) -> dict[tuple[str, str], Gate]:
    """Return the gates of the split checks of a study, or of every study, by data set and its settings."""
    gates = [g for n, s in study_notes(store).items() if name in {None, n} for g in s.get("gates", [])]
    return {
        (g["dataset"], g["dataset_settings"]): read_gate(store.folder("gates", g["key"]))
        for g in gates
        if store.has("gates", g["key"])
    }


def read_gate(folder: Path) -> Gate:
    """Return the gate in a folder of the store; raises `StoreError` if the file is damaged."""
    try:
        gate = read_json(folder / "gate.json")
        declared = as_declared(Gate, {name: gate[name] for name in ("members", "nonmembers", "findings")})
    except (ValueError, TypeError, KeyError) as error:
        raise damaged_result_error(folder, error) from error
    return with_current_words(declared)


def last_epoch_rows(rows: Sequence[Row], metric: str) -> list[Row]:
    """Return the rows of a metric at the last epoch at which it was measured."""
    measured = [r for r in without_initialized(rows) if r.metric == metric and r.epoch is not None]
    epoch = max((r.epoch or 0 for r in measured), default=0)
    return [r for r in measured if r.epoch == epoch]
