"""Base models and texts of a study's plan, which every host of a study must read from its own files."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

from byheart.core.errors import StoreError
from byheart.core.registry import key_of
from byheart.study.planned_cell import PlannedCell


def inputs_key(planned: Iterable[PlannedCell]) -> str:
    """Return the hash of the base models and texts of all cells; results in the store do not change it."""
    inputs = {(key_of(p.base_recipe), p.texts["train"].digest, p.texts["audited"].digest) for p in planned}
    return key_of({"inputs": sorted(inputs)})


def check_inputs(planned: Iterable[PlannedCell], expected: str, store: Path) -> None:
    """Raise `StoreError` if this host plans from other base models or texts than the `expected` key of another host."""
    if inputs_key(planned) != expected:
        raise StoreError(
            f"store {store}: host {platform.node()} reads other model files or data than the host that started the study. "
            "Use the same model files, data and byheart on every host."
        )
