"""LoRA's rows with the layers that it adapts in the method's place, so that names tell placements apart as they do methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from byheart.analysis import row_values
from byheart.core import registry
from byheart.core.types import Row

TARGETS_PREFIX = "targets="


def placement_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of `lora`, each with its placement as its method."""
    default = str(registry.default_settings(registry.load_function("methods", "lora"))["targets"])
    return [_with_placement_as_method(r, default) for r in rows if r.method == "lora"]


def _with_placement_as_method(row: Row, default: str) -> Row:
    parts = row_values.split_settings(row.method_settings)
    placement = next((p.removeprefix(TARGETS_PREFIX) for p in parts if p.startswith(TARGETS_PREFIX)), default)
    others = ", ".join(p for p in parts if not p.startswith(TARGETS_PREFIX))
    return dataclasses.replace(row, method=placement, method_settings=others)
