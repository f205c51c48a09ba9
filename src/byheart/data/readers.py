"""Rows of JSONL, CSV, Parquet and text files and of the Hugging Face Hub.

Each knows its place ("notes.jsonl line 3"), to say where a fault is. A published split is files of a folder or splits of
a Hub repository, named train, test, validation. No data set's code is run.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from byheart.core.errors import DataError
from byheart.core.types import Examples, Role, Texts
from byheart.data.records import nonempty_string_value, string_value

SPLIT_ROLES: Mapping[str, Role] = {"train": "train", "test": "nonmember", "validation": "validation"}
"""What a published split's name says of its texts."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class SourceRow(NamedTuple):
    """One row as it was read, and its place in words."""

    location: str
    fields: Mapping[str, object]


class Example(NamedTuple):
    """One text on its way into `Examples`; a text without a group is a group of its own."""

    id: str
    scored: str
    prompt: str = ""
    role: Role = "pool"
    group: str | None = None
    attributes: Mapping[str, str] = {}
    chat: str = ""


def examples(parts: Iterable[Example]) -> Examples:
    """Return the texts as columns; raises `DataError` for none, for empty ones and for ids used twice."""
    rows = tuple(parts)
    if not rows:
        raise DataError("the data set holds no texts; loosen its settings or name another source")
    return Examples(
        Texts(
            tuple(r.id for r in rows),
            tuple(r.scored for r in rows),
            tuple(r.prompt for r in rows),
            tuple(r.chat for r in rows),
        ),
        tuple(r.role for r in rows),
        tuple(r.id if r.group is None else r.group for r in rows),
        tuple(r.attributes for r in rows),
    )


def string_field(row: SourceRow, field: str) -> str:
    """Return a field's string, which may be empty.

    Raises `DataError` naming the place where the field is missing, not a string, or not Unicode text.
    """
    return string_value(row.location, row.fields, field)


def nonempty_string_field(row: SourceRow, field: str) -> str:
    """Return a field's string; raises `DataError` as `string_field` does, and where it is blank."""
    return nonempty_string_value(row.location, row.fields, field)


def truncate_text(text: str, characters: int | None) -> str:
    """Return the text's beginning, cut between words so that it has at most so many characters."""
    if characters is None or len(text) <= characters:
        return text
    head = text[:characters]
    return (head if text[characters].isspace() else re.sub(r"\s\S*$", "", head)).rstrip()


def published_splits(source: str, config: str | None = None) -> dict[str, Iterable[SourceRow]]:
    """Return each published split's rows, from a folder or else from the Hub; raises `DataError` for neither."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_folder_splits(path)
    if path.exists() or not _HUB_ID.fullmatch(source):
        raise DataError(f"source {source!r} is no folder; write source: FOLDER with {_EXPECTED_FILES}, or OWNER/NAME")
    loaded = _load_hub_splits(source, config)
    found = [split for split in SPLIT_ROLES if split in loaded]
    if not found:
        raise DataError(f"{source} publishes {', '.join(loaded) or 'no splits'}; needed: {', '.join(SPLIT_ROLES)}")
    return {split: numbered_rows(f"{source} {split}", loaded[split]) for split in found}


def _load_hub_splits(source: str, config: str | None) -> Mapping[str, Iterable[Mapping[str, object]]]:
    import datasets  # 0.8 s that local files need not pay
    from datasets.exceptions import DatasetsError

    load = cast("Callable[..., Mapping[str, Iterable[Mapping[str, object]]]]", datasets.load_dataset)
    try:
        try:
            return load(source, config)
        except RuntimeError:
            # A repository with a loading script; the Hub keeps its splits as Parquet files beside it. They are named
            # one by one, because a search by name would take `challenge_train_sample` for a part of `train`.
            files = {split: f"{config or 'default'}/{split}/*.parquet" for split in SPLIT_ROLES}
            return load(source, data_files=files, revision="refs/convert/parquet")
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        told = f"{source} is no folder here, and the Hub did not give it ({first_error_line(error)})"
        raise DataError(f"{told}; write source: FOLDER with {_EXPECTED_FILES}") from error


def _read_folder_splits(path: Path) -> dict[str, Iterable[SourceRow]]:
    found: dict[str, Iterable[SourceRow]] = {}
    for split in SPLIT_ROLES:
        # Large data sets are published in shards: train-00000-of-00002.parquet.
        files = sorted(f for f in path.iterdir() if f.suffix in READERS and re.split("[-.]", f.name)[0] == split)
        if len({f.suffix for f in files}) > 1:
            raise DataError(f"{path} holds {' and '.join(f.name for f in files)}; keep one kind of file")
        if files:
            found[split] = [row for file in files for row in read_rows(file)]
    if not found:
        names = sorted(f.name for f in path.iterdir())[:10]
        raise DataError(f"{path} holds no {_EXPECTED_FILES}; found: {', '.join(names) or 'nothing'}")
    return found


def read_rows(path: Path) -> list[SourceRow]:
    """Return the rows of a file, read as its suffix says.

    Raises `DataError` in one line that names the file, and the line or row where there is one: for a file that is
    missing, unreadable or empty, for another suffix, and for what is not UTF-8, JSON, CSV or Parquet inside.
    """
    kinds = f"a {_SUFFIXES} file"
    if path.suffix not in READERS:
        raise DataError(f"{path} is no kind of file that can be read; write the path of {kinds}")
    try:
        rows = list(READERS[path.suffix](path))
    except OSError as error:
        why = error.strerror or first_error_line(error)
        sought = "" if path.is_absolute() else f" in {Path.cwd()}, where byheart was started"
        raise DataError(f"{path} cannot be read ({why}{sought}); write the path of {kinds}") from error
    if not rows:
        raise DataError(f"{path} holds no texts; write another path")
    return rows


def file_hash(path: Path) -> str:
    """Return a file's content hash (32 hex digits); raises `DataError` where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); write the path of a {_SUFFIXES} file") from error


def first_error_line(error: Exception) -> str:
    """Return the first line of what a library says of a fault."""
    return (str(error).splitlines() or [""])[0]


def _read_utf8(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} line {line} is not UTF-8; save the file as UTF-8") from error


def _nonempty_lines(path: Path) -> Iterator[tuple[str, str]]:
    # Not `splitlines`: U+2028 and its like may stand inside a JSON string or a sentence.
    for number, line in enumerate(_read_utf8(path).split("\n"), start=1):
        if line.strip():
            yield f"{path} line {number}", line.strip()


def _read_text(path: Path) -> Iterator[SourceRow]:
    for place, line in _nonempty_lines(path):
        yield SourceRow(place, {"text": line})


def _read_jsonl(path: Path) -> Iterator[SourceRow]:
    for place, line in _nonempty_lines(path):
        try:
            fields: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is not JSON ({first_error_line(error)}); write one object a line") from error
        if not isinstance(fields, dict):
            raise DataError(f'{place} is not a JSON object; write one object a line, as in {{"text": "..."}}')
        yield SourceRow(place, fields)  # pyright: ignore[reportUnknownArgumentType] - JSON's keys are strings


def _read_csv(path: Path) -> Iterator[SourceRow]:
    text = _read_utf8(path)
    usual = csv.field_size_limit(max(len(text), 131_072))  # a document may be longer than Python's usual limit
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in rows:
            place, line = f"{path} line {line}", rows.line_num + 1
            if not cells:
                continue
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    raise DataError(f"{place} names a column twice: {', '.join(header)}")
            elif len(cells) != len(header):
                raise DataError(f"{place} has {len(cells)} cells, but the header has {len(header)}")
            else:
                yield SourceRow(place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path} line {line} is not CSV ({error})") from error
    finally:
        csv.field_size_limit(usual)


def _read_parquet(path: Path) -> Iterator[SourceRow]:
    import pyarrow.parquet  # 0.1 s that other files need not pay

    try:
        batches = cast("Any", pyarrow.parquet.ParquetFile(path)).iter_batches()
        yield from numbered_rows(str(path), (fields for batch in batches for fields in batch.to_pylist()))
    except (ValueError, NotImplementedError) as error:  # what Arrow's own errors are, all but its OSError
        raise DataError(f"{path} is not a Parquet file that can be read ({first_error_line(error)})") from error


def numbered_rows(place: str, rows: Iterable[Mapping[str, object]]) -> Iterator[SourceRow]:
    """Yield rows with their places, counted from 1."""
    for number, fields in enumerate(rows, start=1):
        yield SourceRow(f"{place} row {number}", fields)


READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet, ".txt": _read_text}
_SUFFIXES = ", ".join(READERS)
_EXPECTED_FILES = f"{', '.join(SPLIT_ROLES)} files ({_SUFFIXES})"
