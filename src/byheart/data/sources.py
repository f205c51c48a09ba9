"""Texts from wherever they are kept: a file, a folder of files, a folder that `datasets` saved, a split on the Hub.

A split of the Hub is written `hub:OWNER/NAME:SPLIT`, with a configuration `hub:OWNER/NAME:CONFIG:SPLIT`, at a revision
`hub:OWNER/NAME@REVISION:SPLIT`; a part of it as `datasets` slices splits: `hub:OWNER/NAME:train[:1000]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from byheart.core.errors import DataError
from byheart.data.readers import READERS, SourceRow, first_error_line, numbered_rows, read_rows

_HUB_SPLIT_PATTERN = re.compile(
    r"hub:([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?(?::([\w.-]+))?:(\w+(?:\[[^\]]+\])?)", re.ASCII
)
_HUB_SYNTAX_HINT = "write hub:OWNER/NAME:SPLIT, or hub:OWNER/NAME:CONFIG:SPLIT"
_Rows = Iterable[Mapping[str, object]]


def read_source(name: str) -> list[SourceRow]:
    """Return the rows of what a name says, each with its place in words.

    Raises `DataError` in one line for what is not there, holds no texts, or cannot be read.
    """
    if name.startswith("hub:"):
        return _nonempty_rows(name, numbered_rows(name, _load_hub_split(name)))
    if not name:
        raise DataError("a name of texts is empty; write a file, a folder, or hub:OWNER/NAME:SPLIT")
    path = Path(name).expanduser()
    if not path.is_dir():
        return read_rows(path)
    if (path / "dataset_dict.json").is_file():
        raise DataError(f"{path} holds several splits; name one, as in {path / _first_split(path)}")
    if (path / "state.json").is_file():
        return _nonempty_rows(name, numbered_rows(name, _load_saved_dataset(path)))
    files = sorted(f for f in path.iterdir() if f.suffix in READERS)
    if len({f.suffix for f in files}) != 1:
        found = " and ".join(sorted({f"*{f.suffix}" for f in files})) or "no such file"
        raise DataError(f"{path} holds {found}; name a folder with files of one kind: {', '.join(READERS)}")
    return [row for file in files for row in read_rows(file)]


def _nonempty_rows(name: str, rows: Iterable[SourceRow]) -> list[SourceRow]:
    found = list(rows)
    if not found:
        raise DataError(f"{name} holds no texts; name another")
    return found


def _first_split(path: Path) -> str:
    try:
        held = json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))
        return str(held["splits"][0])
    except (OSError, ValueError, LookupError, TypeError):
        return "train"


def _load_saved_dataset(path: Path) -> _Rows:
    import datasets  # 0.8 s that other files need not pay
    from datasets.exceptions import DatasetsError

    load = cast("Callable[[str], _Rows]", datasets.load_from_disk)
    try:
        return load(str(path))
    except (OSError, ValueError, LookupError, TypeError, DatasetsError) as error:
        raise DataError(
            f"{path} is not a folder that datasets' save_to_disk wrote whole ({first_error_line(error)}); save it again"
        ) from error


def _load_hub_split(source: str) -> _Rows:
    found = _HUB_SPLIT_PATTERN.fullmatch(source)
    if found is None:
        raise DataError(f"{source!r} names no split of the Hub; {_HUB_SYNTAX_HINT}")
    name, revision, config, split = found.groups()
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    load = cast("Callable[..., _Rows]", datasets.load_dataset)
    try:
        return load(name, config, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, LookupError, DatasetsError) as error:
        raise DataError(
            f"{source}: the Hub did not give it ({first_error_line(error)}); check it and the network"
        ) from error
