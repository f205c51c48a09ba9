"""Files that the callback rewrites during training: rows and curve."""

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
    """Return the path; raises `SettingError` for an unknown file ending or a missing folder."""
    if path is None:
        return None
    checked = Path(path)
    if checked.suffix not in endings:
        raise SettingError(f"{name} = {str(path)!r}: unknown file ending. Use one of {', '.join(endings)}.")
    if not checked.parent.is_dir():
        raise SettingError(f"{name} = {str(path)!r}: the folder {checked.parent} does not exist. Create it.")
    return checked


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, because a training may be killed at any moment."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
