"""Split the data set of a cell; an error names the keys of the study that set the sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byheart.core.errors import DataError
from byheart.core.registry import setting_types
from byheart.core.split import Examples, Split
from byheart.data.splitting import split
from byheart.study.cell import Cell


def cell_split(cell: Cell, examples: Examples, settings: Mapping[str, Any]) -> Split:
    """Return the split of a cell's data set. Raises `DataError` as `split` does, with the keys to change."""
    try:
        return split(examples, **settings, by=cell.data.split)
    except DataError as error:
        has_count = "count" in setting_types(cell.dataset.function)
        count = f"; {cell.dataset.name}.count sets the number of records" if has_count else ""
        raise DataError(
            f"{error} The sizes are data.train, data.members, data.nonmembers, data.validation and data.known{count}."
        ) from error
