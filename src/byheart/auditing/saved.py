"""Read the folder of an audit: manifest, rows and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.core.errors import StoreError
from byheart.core.json_shapes import as_declared
from byheart.core.row import rows_from_json
from byheart.core.types import Row, Scores, ScoreSet
from byheart.stats.leakage_tests import RecordLabels
from byheart.store.seal import MANIFEST, missing_manifest, read_sealed

BASE_PREFIX = "base/"
LABEL_COLUMNS = ("id", "member", "group")


@dataclass(frozen=True)
class SettingsShape:
    """The settings of an audit that comparisons read."""

    fpr: float
    attacks: dict[str, Any]


@dataclass(frozen=True)
class ProvenanceShape:
    """The fields of an audit's provenance that are read."""

    model: str
    data: dict[str, str]
    settings: SettingsShape
    inputs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])


@dataclass(frozen=True)
class ManifestShape:
    """The fields of an audit's manifest that are read."""

    files: dict[str, str]
    made: ProvenanceShape


@dataclass(frozen=True, eq=False)
class SavedAudit:
    """An audit's folder: its manifest, rows, ids, labels and scores by epoch (0: base model, 1: fine-tuned model) and attack."""

    folder: Path
    manifest: Mapping[str, Any]
    rows: tuple[Row, ...]
    ids: tuple[str, ...]
    record_labels: RecordLabels
    scores: Mapping[int, Mapping[str, Scores]]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Model, data, settings and versions of the audit."""
        return self.manifest["made"]

    @property
    def left_out(self) -> Mapping[str, str]:
        """The reason for each attack that did not run."""
        return self.manifest["not_run"]

    @property
    def has_nonmembers(self) -> bool:
        """Whether there are non-members, so that AUC and FPR are defined."""
        return not bool(self.record_labels.membership.all())

    def score_set(self, key: str) -> ScoreSet:
        """Return the scores behind a row, by the row's `scores` field."""
        epoch, _, attack = key.partition("/")
        return ScoreSet(self.ids, self.scores[int(epoch)][attack], *self.record_labels)


def read_audit_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an audit's folder; raises `StoreError` for another folder and for a changed manifest."""
    if not (folder / MANIFEST).is_file():
        fix = "Name a folder of byheart audit -o."
        if (folder / "store.json").is_file():
            fix = f"It is a store of studies: byheart report --store {folder}"
        raise StoreError(f"{folder}: is not the folder of an audit ({missing_manifest(folder)}). {fix}")
    manifest = read_sealed(folder / MANIFEST)
    if "made" not in manifest and (folder / "store.json").is_file():
        raise StoreError(f"{folder}: is a packed study, not an audit. Its page: byheart report --store {folder}")
    if "made" not in manifest or "files" not in manifest:
        raise StoreError(f"{folder}: its {MANIFEST} is not that of an audit. Name a folder of byheart audit -o.")
    try:
        as_declared(ManifestShape, manifest)
    except ValueError as error:
        raise StoreError(
            f"{folder}: its {MANIFEST} is not that of an audit ({error}). Name a folder of byheart audit -o."
        ) from error
    return manifest


def read_audit(folder: Path) -> SavedAudit:
    """Return the audit in a folder; raises `StoreError` for another folder, and for files that cannot be read."""
    manifest = read_audit_manifest(folder)
    parquet: Any = import_module("pyarrow.parquet")
    try:
        rows = tuple(rows_from_json(json.loads((folder / "rows.json").read_text(encoding="utf-8"))))
        columns: dict[str, list[Any]] = parquet.read_table(folder / "scores.parquet").to_pydict()
        ids, members, groups = (columns.pop(name) for name in LABEL_COLUMNS)
        for declared, labels in ((list[str], ids), (list[bool], members), (list[str], groups)):
            as_declared(declared, labels)
        scores = _scores_by_epoch(columns)
    except UNREADABLE as error:
        raise StoreError(
            f"{folder}: cannot be read ({error}). Run byheart verify {folder}, and get the original folder."
        ) from error
    labels = RecordLabels(np.array(members, dtype=bool), tuple(groups))
    return SavedAudit(folder, manifest, rows, tuple(ids), labels, scores)


UNREADABLE = (OSError, ValueError, TypeError, LookupError, NotImplementedError, RecursionError)
"""What JSON, Parquet and NumPy raise for content of another kind."""


def _scores_by_epoch(columns: Mapping[str, Sequence[Any]]) -> dict[int, dict[str, Scores]]:
    """Return the columns of scores by epoch and attack; raises `ValueError` for a column that is not numbers."""
    scores: dict[int, dict[str, Scores]] = {BASE_EPOCH: {}, FINETUNED_EPOCH: {}}
    for column, values in columns.items():
        as_declared(list[float], values)
        epoch = BASE_EPOCH if column.startswith(BASE_PREFIX) else FINETUNED_EPOCH
        scores[epoch][column.removeprefix(BASE_PREFIX)] = np.array(values, dtype=np.float64)
    return scores
