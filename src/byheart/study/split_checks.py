"""Split checks of a study: one gate for each split, stored, and matched to rows by data set and settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from byheart.core.errors import DataError
from byheart.core.registry import key_of
from byheart.core.split_check import Finding, Gate
from byheart.data import split_check
from byheart.data.split_check import gate, with_assignment
from byheart.store.rows import read_gate
from byheart.store.store import Store
from byheart.study.cell import non_default_settings
from byheart.study.planned_cell import PlannedCell

DEFAULT_FPR = 0.01
"""False positive rate for the power of the split check, if the study names none."""


class SplitGate(NamedTuple):
    """Gate of one split: its name, the data set and settings in the labels of rows, and its key in the store."""

    name: str
    dataset: str
    settings: str
    key: str
    gate: Gate


def split_gates(planned: Sequence[PlannedCell], store: Store) -> list[SplitGate]:
    """Return the gate of every split of the cells; each split is checked once and its gate stored.

    Too few records for the check make the gate doubtful; the study continues.
    """
    return [_split_gate(cell, store) for cell in {id(p.split): p for p in planned}.values()]


def _split_gate(planned: PlannedCell, store: Store) -> SplitGate:
    cell, split = planned.cell, planned.split
    near_duplicate, max_tokens, fpr = cell.data.near_duplicate, cell.data.max_tokens, _fpr(planned)
    recipe = {
        "dataset": cell.dataset.recipe,
        "train": split.train.digest,
        "audited": split.audited.digest,
        "groups": key_of({"groups": split.groups}),
        "near_duplicate": near_duplicate,
        "max_tokens": max_tokens,
        "fpr": fpr,
        "split": cell.data.split,
        "revision": split_check.REVISION,
    }

    def make(folder: Path) -> None:
        try:
            result = gate(split, near_duplicate=near_duplicate, max_tokens=max_tokens, fpr=fpr)
        except DataError as error:
            reason = str(error).removeprefix("split check: ")
            finding = Finding("data", "doubtful", "not checked", f"the split was not checked: {reason}", 0.0)
            result = Gate(len(split.members), len(split.nonmembers), (finding,))
        result = with_assignment(result, is_random=cell.data.split == "group")
        (folder / "gate.json").write_text(json.dumps(dataclasses.asdict(result), allow_nan=False))

    key = key_of({**recipe, "dataset": cell.dataset.identity})
    parts = [x for x in (cell.dataset.name, cell.dataset.label, non_default_settings(cell.data)) if x]
    return SplitGate(
        " · ".join(parts), parts[0], ", ".join(parts[1:]), key, read_gate(store.get_or_make("gates", key, recipe, make))
    )


def _fpr(planned: PlannedCell) -> float:
    """Return the lowest false positive rate among the study's metrics."""
    return min(
        (m.recipe["settings"].get("fpr", DEFAULT_FPR) for m in planned.metrics if m.name == "tpr_at_fpr"),
        default=DEFAULT_FPR,
    )
