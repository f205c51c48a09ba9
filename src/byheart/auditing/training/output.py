"""Files that are written again and again beside a training: rows and curves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from byheart.analysis.formats import ROW_FORMATS
from byheart.core.atomic_file import atomic_write
from byheart.core.errors import SettingError
from byheart.core.types import Row


def _lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(dataclasses.asdict(r), ensure_ascii=False) + "\n" for r in rows).encode()


FORMATS = {".jsonl": _lines, **{f".{name}": ROW_FORMATS[name] for name in ("json", "parquet", "csv")}}


def check_output_path(name: str, path: Path | str | None, endings: Sequence[str]) -> Path | None:
    """Return where to write; raises `SettingError` for an ending that says no format, or a folder that is not there."""
    if path is None:
        return None
    found = Path(path)
    if found.suffix not in endings:
        raise SettingError(f"{name} = {str(path)!r}: end it in {', '.join(endings)}")
    if not found.parent.is_dir():
        raise SettingError(f"{name} = {str(path)!r}: the folder {found.parent} is not there; make it first")
    return found


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a training may be killed at any moment."""
    with atomic_write(path) as aside:
        aside.write_bytes(content)
