"""Read the folder of an audit: manifest, rows and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from byheart.auditing.result import BASE_EPOCH, FINETUNED_EPOCH
from byheart.core.errors import StoreError
from byheart.core.types import Row, Scores
from byheart.stats.leakage_tests import RecordLabels
from byheart.store.seal import MANIFEST, read_sealed

BASE_PREFIX = "base/"
LABEL_COLUMNS = ("id", "member", "group")


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


def read_audit_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an audit's folder; raises `StoreError` for another folder and for a changed manifest."""
    if not (folder / MANIFEST).is_file():
        raise StoreError(f"{folder}: is not the folder of an audit (no {MANIFEST}). Name a folder of byheart audit -o.")
    manifest = read_sealed(folder / MANIFEST)
    if "made" not in manifest or "files" not in manifest:
        raise StoreError(f"{folder}: its {MANIFEST} is not that of an audit. Name a folder of byheart audit -o.")
    return manifest


def read_audit(folder: Path) -> SavedAudit:
    """Return the audit in a folder; raises `StoreError` for another folder, and for files that cannot be read."""
    manifest = read_audit_manifest(folder)
    parquet: Any = import_module("pyarrow.parquet")
    try:
        rows = tuple(Row(**row) for row in json.loads((folder / "rows.json").read_text(encoding="utf-8")))
        columns: dict[str, list[Any]] = parquet.read_table(folder / "scores.parquet").to_pydict()
        ids, members, groups = (tuple(columns.pop(name)) for name in LABEL_COLUMNS)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{folder}: cannot be read ({error}). Run byheart verify {folder}, and get the original folder."
        ) from error
    scores: dict[int, dict[str, Scores]] = {BASE_EPOCH: {}, FINETUNED_EPOCH: {}}
    for column, values in columns.items():
        epoch = BASE_EPOCH if column.startswith(BASE_PREFIX) else FINETUNED_EPOCH
        scores[epoch][column.removeprefix(BASE_PREFIX)] = np.array(values, dtype=np.float64)
    labels = RecordLabels(np.array(members, dtype=bool), cast("tuple[str, ...]", groups))
    return SavedAudit(folder, manifest, rows, cast("tuple[str, ...]", ids), labels, scores)
