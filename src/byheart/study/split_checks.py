"""The validity gate of a study's data: judged once for each split, kept in the store, found again by rows' labels."""

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
from byheart.data.split_check import gate
from byheart.store.rows import read_gate
from byheart.store.store import Store
from byheart.study.planned_cell import PlannedCell
from byheart.study.study_file import non_default_settings

DEFAULT_FPR = 0.01
"""The rate that power is told for where a study asks for none."""


class SplitGate(NamedTuple):
    """One split's gate: its name, the data set and settings that rows call it by, and the key that it is kept under."""

    name: str
    dataset: str
    settings: str
    key: str
    gate: Gate


def split_gates(planned: Sequence[PlannedCell], store: Store) -> list[SplitGate]:
    """Return the gate of every split of the cells, each judged once and kept in the store.

    Data too few to be judged are doubtful, which is said, and no reason to refuse a study.
    """
    return [_split_gate(one, store) for one in {id(p.split): p for p in planned}.values()]


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
        "revision": split_check.REVISION,
    }

    def make(folder: Path) -> None:
        try:
            found = gate(split, near_duplicate=near_duplicate, max_tokens=max_tokens, fpr=fpr)
        except DataError as error:
            told = Finding("data", "doubtful", "not judged", f"the data were not judged: {error}", 0.0)
            found = Gate(len(split.members), len(split.nonmembers), (told,))
        (folder / "gate.json").write_text(json.dumps(dataclasses.asdict(found), allow_nan=False))

    key = key_of({**recipe, "dataset": cell.dataset.identity})
    named = [x for x in (cell.dataset.name, cell.dataset.label, non_default_settings(cell.data)) if x]
    return SplitGate(
        " · ".join(named), named[0], ", ".join(named[1:]), key, read_gate(store.get_or_make("gates", key, recipe, make))
    )


def _fpr(planned: PlannedCell) -> float:
    """Return the lowest false positive rate that the study measures at."""
    return min(
        (m.recipe["settings"].get("fpr", DEFAULT_FPR) for m in planned.metrics if m.name == "tpr_at_fpr"),
        default=DEFAULT_FPR,
    )
