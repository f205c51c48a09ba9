"""Rows of LoRA with the adapted layers as the method name, so that tables and figures compare placements like methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from byheart.analysis import row_values
from byheart.core import registry
from byheart.core.types import Row

TARGETS_PREFIX = "targets="


def placement_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of `lora` with the placement (the setting `targets`) in the field `method`."""
    default = str(registry.default_settings(registry.load_function("methods", "lora"))["targets"])
    return [_with_placement_as_method(r, default) for r in rows if r.method == "lora"]


def _with_placement_as_method(row: Row, default: str) -> Row:
    settings = row_values.split_settings(row.method_settings)
    placement = next((p.removeprefix(TARGETS_PREFIX) for p in settings if p.startswith(TARGETS_PREFIX)), default)
    other_settings = ", ".join(p for p in settings if not p.startswith(TARGETS_PREFIX))
    return dataclasses.replace(row, method=placement, method_settings=other_settings)
