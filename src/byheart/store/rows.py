"""The store's results as tidy rows, without torch: what tables, figures and the report read."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byheart.core import ragged
from byheart.core.errors import DataError, SettingError, StoreError, UnknownNameError
from byheart.core.registry import current_name
from byheart.core.split_check import Finding, Gate
from byheart.core.types import Row, ScoreSet, TextLosses
from byheart.store.store import Store, damaged_result_error, read_arrays, read_json


def read_rows(folder: Path) -> list[Row]:
    """Return the rows of a cell from their folder."""
    try:
        return [_with_current_names(Row(**r)) for r in read_json(folder / "rows.json")]
    except TypeError as error:
        raise damaged_result_error(folder, error) from error


def _with_current_names(row: Row) -> Row:
    """Return the row under today's names of metrics and observations."""
    metric = current_name("metrics", row.metric)
    label, equals, name = row.metric_settings.partition("observation=")
    settings = f"{label}{equals}{current_name('observations', name)}" if equals else row.metric_settings
    return dataclasses.replace(row, metric=metric, metric_settings=settings)


def study_notes(store: Store) -> dict[str, dict[str, Any]]:
    """Return what is noted of each study: its settings, the keys of its rows, the cells that failed."""
    return store.notes("studies")


def study_rows(store: Store, name: str | None = None) -> list[Row]:
    """Return the rows of a study, or of every study in the store.

    Raises `UnknownNameError` for a study that is not there, `StoreError` for a store without any, or without a finished cell.
    """
    noted = study_notes(store)
    if not noted:
        raise StoreError(
            f"store {store.root} holds no study yet; make one with: byheart run STUDY.yaml --store {store.root}"
        )
    if name is not None and name not in noted:
        raise UnknownNameError("study", name, noted)
    keys = _row_keys(store, name)
    if not keys:
        told = name or ", ".join(noted)
        again = f"go on with: byheart run STUDY.yaml --store {store.root}"
        raise StoreError(f"no cell of {told} is finished in store {store.root}; {again}")
    return [row for key in keys for row in read_rows(store.folder("rows", key))]


def filter_rows(rows: Sequence[Row], conditions: Sequence[str]) -> list[Row]:
    """Return the rows that fit: of one field any of its `FIELD=VALUE`s, of several fields all. `FIELD=` fits what is empty.

    Raises `SettingError` for what is not written so, `UnknownNameError` for a field or a value that no row has, `DataError`
    where each is there and no row has all.
    """
    asked: dict[str, set[str]] = {}
    for written in conditions:
        field, equals, value = written.partition("=")
        if not equals:
            raise SettingError(f"--where {written}: write --where FIELD=VALUE, for instance --where attack=loss")
        if field not in _FILTER_FIELDS:
            raise UnknownNameError("field of --where", field, _FILTER_FIELDS)
        there = {_field_text(r, field) for r in rows}
        if value not in there:
            raise UnknownNameError(f"{field} of --where", value, there - {""})
        asked.setdefault(field, set()).add(value)
    found = [r for r in rows if all(_field_text(r, field) in those for field, those in asked.items())]
    if not found:
        raise DataError(f"no row has all of --where {' --where '.join(conditions)}; leave one out")
    return found


_FILTER_FIELDS = [f.name for f in dataclasses.fields(Row) if f.name not in {"value", "low", "high", "scores"}]


def _field_text(row: Row, field: str) -> str:
    value = getattr(row, field)
    return "" if value is None else str(value)


def _row_keys(store: Store, name: str | None) -> list[str]:
    keys = dict.fromkeys(k for n, s in study_notes(store).items() if name in {None, n} for k in s["rows"])
    return [key for key in keys if store.has("rows", key)]


def score_reader(store: Store) -> Callable[[str], ScoreSet]:
    """Return the function that looks scores up by a row's `scores`."""

    @functools.cache
    def look_up(key: str) -> ScoreSet:
        held = read_arrays(store.folder("scores", key))
        groups = tuple(held["groups"].tolist()) if "groups" in held else ()  # byheart's first stores hold none
        extracted = (held.get("extracted"), held.get("tokens"))
        return ScoreSet(tuple(held["ids"].tolist()), held["scores"], held["members"], groups, *extracted)

    return look_up


def validation_pass_keys(store: Store, name: str | None = None) -> dict[tuple[str, int], list[str]]:
    """Return the keys of the passes over validation texts that a study's rows rest on, by cell ("" for the base) and epoch."""
    found: dict[tuple[str, int], list[str]] = {}
    keys = {e for row in _row_keys(store, name) for e in store.recipe("rows", row)["recipe"]["evidence"]}
    for key in sorted(k for k in keys if store.has("evidence", k)):
        recipe = store.recipe("evidence", key)["recipe"]
        if recipe["observation"]["name"] == "validation":
            model = recipe["inputs"]["model"]
            found.setdefault((model.get("cell", ""), model.get("epoch", 0)), []).append(key)
    return found


def validation_loss_reader(store: Store, name: str | None = None) -> Callable[[Row], TextLosses | None]:
    """Return the function that looks up the validation texts' losses behind a row of perplexity.

    It gives None where the store holds them no more.
    """
    passes = functools.cache(lambda: validation_pass_keys(store, name))

    def look_up(row: Row) -> TextLosses | None:
        for key in passes().get((row.cell if row.epoch else "", row.epoch or 0), []):
            held = read_arrays(store.folder("evidence", key))
            losses = TextLosses(-ragged.sums(held["logp"], held["starts"]), ragged.lengths(held["starts"]))
            # One cell may be measured on several sets of validation texts: the row's own are those that give its value.
            if math.isclose(math.exp(losses.nats.sum() / losses.tokens.sum()), row.value, rel_tol=1e-6):
                return losses
        return None

    return look_up


def read_gates(store: Store, name: str | None = None) -> dict[tuple[str, str], Gate]:
    """Return the validity gates of a study's data, or of every study's, by the data set and settings of its rows."""
    noted = [g for n, s in study_notes(store).items() if name in {None, n} for g in s.get("gates", [])]
    return {
        (g["dataset"], g["dataset_settings"]): read_gate(store.folder("gates", g["key"]))
        for g in noted
        if store.has("gates", g["key"])
    }


def read_gate(folder: Path) -> Gate:
    """Return the gate that a folder of the store holds."""
    try:
        held = read_json(folder / "gate.json")
        return Gate(held["members"], held["nonmembers"], tuple(Finding(**f) for f in held["findings"]))
    except (TypeError, KeyError) as error:
        raise damaged_result_error(folder, error) from error


def last_epoch_rows(rows: Sequence[Row], metric: str) -> list[Row]:
    """Return the rows of a metric at the last epoch that it was measured at."""
    found = [r for r in rows if r.metric == metric and r.epoch is not None]
    epoch = max((r.epoch or 0 for r in found), default=0)
    return [r for r in found if r.epoch == epoch]
