"""Read texts from a source: a file, a folder of files, a folder that `datasets` saved, or a split on the Hub.

A split of the Hub is written `hub:OWNER/NAME:SPLIT`, with a configuration `hub:OWNER/NAME:CONFIG:SPLIT`, at a revision
`hub:OWNER/NAME@REVISION:SPLIT`; a part of a split as in `datasets`: `hub:OWNER/NAME:train[:1000]`.
Of any source, `:FIELD=VALUE` at its end selects the rows with this value: `texts.jsonl:label=1`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from byheart.core.errors import DataError
from byheart.core.hub_offline import hub_fix
from byheart.core.paths import expanded
from byheart.data.formats import READERS, SUFFIXES, SourceRow, first_error_line, format_suffix, numbered_rows, read_rows
from byheart.data.row_selection import select_rows, split_selection

_HUB_SPLIT_PATTERN = re.compile(
    r"hub:([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?(?::([\w.-]+))?:(\w+(?:\.\w+)*(?:\[[^\]]+\])?)", re.ASCII
)
_HUB_SYNTAX_HINT = "Write hub:OWNER/NAME:SPLIT, or hub:OWNER/NAME:CONFIG:SPLIT."
_Rows = Iterable[Mapping[str, object]]


def read_source(name: str) -> list[SourceRow]:
    """Return the rows of a source, each with its location.

    Raises `DataError` in one line for a source that does not exist, contains no texts, or cannot be read, and for a selection of no
    rows.
    """
    source, selection = split_selection(name)
    rows = _read_all_rows(source)
    return rows if selection is None else select_rows(source, rows, selection)


def _read_all_rows(name: str) -> list[SourceRow]:
    if name.startswith("hub:"):
        return _nonempty_rows(name, numbered_rows(name, _load_hub_split(name)))
    if not name:
        raise DataError("source: the name is empty. Write a file, a folder, or hub:OWNER/NAME:SPLIT.")
    path = expanded(name)
    if not path.is_dir():
        return read_rows(path)
    if (path / "dataset_dict.json").is_file():
        raise DataError(f"{path}: contains several splits. Name one, such as {path / _first_split(path)}.")
    if (path / "state.json").is_file():
        return _nonempty_rows(name, numbered_rows(name, _load_saved_dataset(path)))
    files = sorted(f for f in path.iterdir() if f.is_file() and format_suffix(f) in READERS)
    suffixes = {format_suffix(f) for f in files}
    if len(suffixes) > 1:
        suffixes.discard(".json")  # a description of the other files
    if len(suffixes) != 1:
        formats = " and ".join(sorted(f"*{suffix}" for suffix in suffixes)) or "no supported file"
        raise DataError(f"{path}: contains {formats}. Name a folder with files of one format: {SUFFIXES}.")
    files = [f for f in files if format_suffix(f) in suffixes]
    return [row for file in files for row in read_rows(file)]


def _nonempty_rows(source: str, rows: Iterable[SourceRow]) -> list[SourceRow]:
    nonempty_rows = list(rows)
    if not nonempty_rows:
        raise DataError(f"{source}: contains no texts. Name another source.")
    return nonempty_rows


def _first_split(path: Path) -> str:
    try:
        return str(json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"][0])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "train"


def _load_saved_dataset(path: Path) -> _Rows:
    import datasets  # takes 0.8 s, and other sources do not need it
    from datasets.exceptions import DatasetsError

    load = cast("Callable[[str], _Rows]", datasets.load_from_disk)
    try:
        return load(str(path))
    except (OSError, ValueError, LookupError, TypeError, DatasetsError) as error:
        raise DataError(
            f"{path}: is not a complete folder of datasets' save_to_disk ({first_error_line(error)}). Save it again."
        ) from error


def _load_hub_split(source: str) -> _Rows:
    match = _HUB_SPLIT_PATTERN.fullmatch(source)
    if match is None:
        raise DataError(f"{source!r}: is not the name of a split on the Hub. {_HUB_SYNTAX_HINT}")
    name, revision, config, split = match.groups()
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    load = cast("Callable[..., _Rows]", datasets.load_dataset)
    try:
        return load(name, config, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, LookupError, DatasetsError) as error:
        raise DataError(
            f"{source}: the Hub did not return it ({first_error_line(error)}). {hub_fix('Check the name and the network')}."
        ) from error
