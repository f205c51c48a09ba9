"""Output of the callback during training: files of rows and curve, and the curve in a notebook."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from byheart.analysis.formats import ROW_FORMATS
from byheart.auditing.training.alarms import Evaluation
from byheart.auditing.training.plot import PICTURE_FORMATS, curve_picture, is_notebook, show_in_notebook
from byheart.core.atomic_file import atomic_write
from byheart.core.errors import SettingError
from byheart.core.setting_values import shown_setting
from byheart.core.types import Row


def _lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(dataclasses.asdict(r), ensure_ascii=False) + "\n" for r in rows).encode()


FORMATS = {".jsonl": _lines, **{f".{name}": ROW_FORMATS[name] for name in ("json", "parquet", "csv")}}


class TrainingOutput:
    """Where the numbers of a training are written; raises `SettingError` for an unknown file ending or a missing folder."""

    def __init__(self, rows: Path | str | None, curve: Path | str | None) -> None:
        self._rows = _check_path("output", rows, tuple(FORMATS))
        self._curve = _check_path("plot", curve, PICTURE_FORMATS)
        self._notebook_display: Any = None

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Write all evaluations so far to the files, and display the curve in a notebook."""
        if self._rows:
            rows = [row for evaluation in evaluations for row in evaluation.rows]
            _write_atomically(self._rows, FORMATS[self._rows.suffix](rows))
        if self._curve:
            _write_atomically(self._curve, curve_picture(evaluations, self._curve.suffix[1:]))
        if is_notebook():
            self._notebook_display = show_in_notebook(evaluations, self._notebook_display)


def _check_path(name: str, path: Path | str | None, endings: Sequence[str]) -> Path | None:
    """Return the path; raises `SettingError` for an unknown file ending or a missing folder."""
    if path is None:
        return None
    if not isinstance(path, Path | str):  # pyright: ignore[reportUnnecessaryIsInstance] - from Python, anything
        raise SettingError(f"{name} = {shown_setting(path)}: is not a path. Write a string or a Path.")
    checked = Path(path)
    if checked.suffix not in endings:
        raise SettingError(f"{name} = {str(path)!r}: unknown file ending. Use one of {', '.join(endings)}.")
    if not checked.parent.is_dir():
        raise SettingError(f"{name} = {str(path)!r}: the folder {checked.parent} does not exist. Create it.")
    return checked


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, because a training may be killed at any moment."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
